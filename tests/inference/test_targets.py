"""What has come of the files that predictions go to."""

from pathlib import Path

from segmed.core.errors import DataError
from segmed.inference.targets import Log, Target, costs_all


def test_each_result_of_one_source_has_its_failure_and_the_first_reason_stands() -> None:
    log = Log([(Path("lost"), "lost: unread")])
    for number in (1, 2, 2):
        log.fail(Path("medium"), f"series {number} fails", result=Path(f"out/{number}.nii.gz"))
    log.fail(Path("lost"), "again")
    assert log.outcome.failures == (
        (Path("lost"), "lost: unread"),
        (Path("medium"), "medium: series 1 fails"),
        (Path("medium"), "medium: series 2 fails"),
    )


def test_an_error_of_a_folder_whose_name_begins_like_the_outputs_is_not_the_outputs(tmp_path: Path) -> None:
    target = Target(tmp_path / "a.nii.gz", tmp_path / "scans" / "a.nii.gz")
    for name, whole in (("scans1/a.nii.gz", False), ("scans/a.nii.gz", True)):
        error = DataError(f"{tmp_path / name}: cannot be read")
        error.__cause__ = PermissionError(13, "denied")
        assert costs_all(error, target) == whole

"""An evaluation never takes the place of files of others, nor of what it is made from."""

from pathlib import Path

import pytest
from report_samples import evaluation

from segmed.core.errors import DataError
from segmed.evaluation.places import places_in, require_apart, require_place, require_places


@pytest.mark.parametrize("mine", ["patients.csv", "groups.csv", "predictions/p01.png", "floors/x/notes.txt"])
def test_a_folder_of_others_that_holds_what_an_evaluation_writes_is_refused(mine: str, tmp_path: Path) -> None:
    (tmp_path / mine).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mine).write_text("mine")
    with pytest.raises(DataError, match=rf"{mine.split('/')[0]}: is there already, and .* holds no evaluation\.json"):
        require_place(tmp_path)


def test_a_folder_of_other_files_and_an_earlier_evaluation_are_free(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    require_place(tmp_path)
    evaluation("a", (0.5, 0.6)).save(tmp_path)
    require_place(tmp_path)


def test_the_folder_of_an_evaluation_in_a_run_is_free_whatever_is_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "evaluation-test" / "prompts" / "gt").mkdir(parents=True)
    (tmp_path / "evaluation-test" / "prompts" / "gt" / "patients.csv").write_text("left")
    with pytest.raises(DataError, match="is there already"):
        require_place(tmp_path / "evaluation-test" / "prompts" / "gt")
    (tmp_path / "config.json").write_text("{}")
    require_place(tmp_path / "evaluation-test" / "prompts" / "gt")


def test_what_is_read_does_not_lie_where_results_go(tmp_path: Path) -> None:
    out = places_in(tmp_path / "out")
    require_apart(out, read=[tmp_path / "out" / "masks", tmp_path, None], searched=[tmp_path / "masks"])
    for read in ("out/predictions", "out/predictions/below", "out/patients.csv"):
        with pytest.raises(DataError, match=f"{read}: is read, and results would be written in its place"):
            require_apart(out, read=[tmp_path / read])
    with pytest.raises(DataError, match="is searched for masks, and results would be written into it"):
        require_apart(out, read=[], searched=[tmp_path])


def test_each_of_several_evaluations_is_asked_about_and_so_is_what_else_is_written(tmp_path: Path) -> None:
    new, taken, masks = tmp_path / "new", tmp_path / "taken", tmp_path / "masks"
    require_places([new, taken], read=[masks, None], more=[tmp_path / "written"])
    with pytest.raises(DataError, match="masks: is read, and results would be written in its place"):
        require_places([new], read=[masks], more=[masks])
    with pytest.raises(DataError, match="is searched for masks, and results would be written into it"):
        require_places([new], read=[], searched=[tmp_path])
    taken.mkdir()
    (taken / "patients.csv").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        require_places([new, taken], read=[])

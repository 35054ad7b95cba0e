"""The report of one or several evaluations: one HTML file that needs nothing else, and plain tables beside it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import refuse_links, write_text
from segmed.core.pseudonyms import Pseudonyms
from segmed.data.keys import pseudonyms_of
from segmed.evaluation.compare import Comparison, compare
from segmed.evaluation.groups import GroupTable, write_group_csv
from segmed.evaluation.report.files import ALWAYS, COMPARISON, require_report_place, write_csv, write_markdown
from segmed.evaluation.report.page import build_page, render
from segmed.evaluation.report.patients import Pictures, References
from segmed.evaluation.report.robustness import write_robustness
from segmed.evaluation.report.viewer import VolumePictures
from segmed.evaluation.result import Evaluation
from segmed.evaluation.robustness import degraded_results

__all__ = ["Pictures", "VolumePictures", "write_comparison", "write_report"]


def write_report(
    evaluations: Sequence[Evaluation],
    *,
    out: Path | str,
    decoded: Pictures | None = None,
    runs: Mapping[str, Path] | None = None,
    anonymise: bool = False,
    channel: int | None = None,
    seed: int = 0,
) -> Path:
    """Compare evaluations and write the page, `report.html`, with `comparison.csv` and `comparison.md`.

    Args:
        evaluations: One is enough; floors go in a block of their own.
        out: The folder to write to.
        decoded: Images and references for the pictures (a `DecodedDataset`); without it they show predictions alone.
        runs: The run folder of each evaluation's name, for learning curves, configuration and evaluations of degraded
            images (whose rows go to `robustness.csv` too).
        anonymise: Put pseudonyms in the place of the ids of patients, cases and slices, made with the key beside the
            data of `decoded` (without it they are of this report alone), and cut folders out of paths.
        channel: The one shown, from 0; by default the middle one (FLAIR for LGG).
        seed: Draws the bootstraps.

    Returns:
        The path of the page.

    Raises:
        DataError: The evaluations are not of the same cases and data, or files of others would be replaced in `out`.

    Example:
        >>> from segmed.evaluation.result import Evaluation
        >>> segmed.write_report([Evaluation.load(Path("runs/unet/evaluation-test"))], out="report").name
        'report.html'
    """
    return write_comparison(
        compare(evaluations, seed=seed), out=Path(out), decoded=decoded, runs=runs, anonymise=anonymise, channel=channel
    )


def write_comparison(
    comparison: Comparison,
    *,
    out: Path,
    decoded: Pictures | None = None,
    runs: Mapping[str, Path] | None = None,
    anonymise: bool = False,
    channel: int | None = None,
    groups: Sequence[GroupTable] = (),
    volumes: VolumePictures | None = None,
    references: References | None = None,
) -> Path:
    """Write what `write_report` writes for a comparison that was made already; with `groups` also `groups.csv`.

    Where whole volumes were scored, `volumes` has their references and images. `references` are those of slices, for
    pictures without a data set.
    """
    refuse_links(out)
    _require_same_data(comparison, decoded)
    degraded = degraded_results(comparison, runs or {})
    more = [name for name, some in (("groups.csv", groups), ("robustness.csv", degraded)) if some]
    require_report_place(out, (*ALWAYS, *more))
    page = build_page(
        comparison,
        degraded=degraded,
        pictures=decoded,
        runs=runs or {},
        written=datetime.now(UTC),
        pseudonyms=pseudonyms_for(decoded) if anonymise else None,
        channel=channel,
        groups=groups,
        volumes=volumes,
        references=references,
    )
    path = out / "report.html"
    html = render(page)
    write_csv(comparison, out / COMPARISON)
    write_markdown(comparison, out / "comparison.md")
    if groups:
        write_group_csv(out / "groups.csv", groups)
    if degraded:
        write_robustness(degraded, out / "robustness.csv")
    write_text(path, html)
    return path


def pseudonyms_for(decoded: Pictures | None) -> Pseudonyms:
    """With the key beside the data where that is known, else of one report alone."""
    if decoded is None or decoded.dataset is None:
        return Pseudonyms.for_once()
    return pseudonyms_of(decoded.dataset)


def _require_same_data(comparison: Comparison, decoded: Pictures | None) -> None:
    """Pictures of other data under these scores would be a lie."""
    ours = None if decoded is None else decoded.data_hash
    for evaluation in comparison.evaluations:
        theirs = evaluation.data_hash
        if ours is not None and theirs is not None and ours != theirs:
            raise DataError(
                f"{evaluation.name} was scored on data {theirs[:12]}, but the data named for pictures is {ours[:12]}. "
                "Name the folder that was evaluated, with the same --patient-regex and --labels."
            )

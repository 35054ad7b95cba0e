"""Harvard-FairSeg as a data set: `data_00001.npz` and so on, one patient a file, in a folder or folders below it.

Labels are rim and cup, apart: the optic disc is both together. Facts of patients (age, gender, race, ethnicity, …)
become attributes, to be scored by group.
"""

from collections.abc import Iterator
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.data.layouts.fairseg_facts import facts_of
from segmed.data.listing import Findings, Listing, in_order, natural_key, numbered
from segmed.io.fairseg import is_fairseg

PATTERN = "data_*.npz"
LABELS = LabelMap(("rim", "cup"), (0, 1, 2))


def holds_fairseg(root: Path) -> bool:
    """Whether there is a file named as FairSeg's are."""
    return next(_files(root), None) is not None


def holds_fairseg_keys(root: Path) -> bool:
    """Whether one of these files holds an image and a mask by FairSeg's names."""
    return any(is_fairseg(path) for path in _files(root))


def list_fairseg(root: Path, labels: LabelMap | None = None) -> Listing:
    """List the files; a patient is the file, or `pid` where files name it, so that no patient can be split."""
    findings = Findings()
    records: dict[str, Record] = {}
    attributes: dict[str, dict[str, str]] = {}
    for path in sorted(_files(root), key=lambda file: natural_key(str(file))):
        if path.stem in records:
            other = records[path.stem].image
            findings.error("doubled-slice", path, f"a second file of slice {path.stem}, besides {other}. Keep one.")
            continue
        try:
            facts = facts_of(path)
        except DataError as error:
            findings.error("not-fairseg", path, str(error).removeprefix(f"{path}: "))
            continue
        patient = f"pid_{facts.pop('pid')}" if "pid" in facts else path.stem
        records[path.stem] = Record(path.stem, patient, 1, path, path)
        attributes.setdefault(patient, facts)
    dataset = SliceDataset("fairseg", root, in_order(numbered(list(records.values()))), labels or LABELS, attributes)
    return Listing(dataset, tuple(findings.found))


def _files(root: Path) -> Iterator[Path]:
    for pattern in (PATTERN, f"*/{PATTERN}", f"*/*/{PATTERN}"):
        yield from root.glob(pattern)

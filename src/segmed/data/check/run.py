"""The check itself: list, read everything once, look at slices, volumes and the split, count."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segmed.core.files import sha256_of
from segmed.core.labels import LabelMap
from segmed.core.progress import Progress
from segmed.core.records import SliceDataset
from segmed.core.split import Split
from segmed.core.stacking import Plane
from segmed.data.check.geometry import check_geometry, orientations, spacings, stored_grids
from segmed.data.check.hashes import check_hashes
from segmed.data.check.measure import SliceMeasures
from segmed.data.check.read import measure_all
from segmed.data.check.report import CheckReport
from segmed.data.check.slices import check_copies, check_grids, check_labels, label_pixels
from segmed.data.check.splits import check_split
from segmed.data.check.volumes import check_volume, equal_channels
from segmed.data.facts import FULL_LGG, Facts, counts
from segmed.data.layouts.lgg import are_of_tcga, is_lgg
from segmed.data.listing import Finding, Findings, Listing
from segmed.data.sources import list_dataset

RANK = {"error": 0, "warning": 1, "note": 2}


def check(
    path: Path,
    *,
    labels: LabelMap | None = None,
    patient_regex: str | None = None,
    split: Split | None = None,
    hashes: Path | None = None,
    plane: Plane = "acquired",
    progress: Progress | None = None,
) -> CheckReport:
    """Read every image and mask of a data set and report all that is wrong, odd or worth knowing.

    Files that cannot be read are errors in the report and do not stop the check.

    Args:
        path: The data set's folder or manifest.
        labels: The labels of the masks; None for one label, or those that the data set names.
        patient_regex: A regular expression whose group is the patient in a file's name.
        split: Its parts are checked for shared patients and for test slices with a neighbour in training.
        hashes: A list that `write_hashes` made; files are compared with it.
        plane: How volumes are cut into slices, as for the split.
        progress: Called with slices read and slices in all.

    Returns:
        The findings, the worst first, and facts.

    Raises:
        DataError: No data set is found at `path`, or `hashes` is no such list.

    Example:
        >>> check(Path("data")).ok
        True
    """
    listing = list_dataset(path, labels=labels, patient_regex=patient_regex, plane=plane)
    dataset = listing.dataset
    findings = Findings(list(listing.findings))
    slices = measure_all(dataset.records, dataset.labels, findings, progress)
    volumes, lgg = _by_volume(slices), is_lgg(dataset)
    check_grids(dataset, slices, findings)
    check_copies(slices, findings)
    check_labels(slices, dataset.labels, findings)
    for patient, volume in volumes.items():
        check_volume(patient, volume, findings, is_lgg=lgg)
    _check_doubled_tree(listing, findings)
    _check_patients(dataset, findings)
    if split is not None:
        check_split(dataset, split, findings)
    if hashes is not None:
        check_hashes(hashes, dataset, findings)
    grids = stored_grids(dataset)
    check_geometry(grids, plane, findings)
    facts = replace(
        _facts(dataset, volumes),
        spacings=dict(Counter(spacings(grids, plane).values())),
        orientations=dict(Counter(orientations(grids).values())),
    )
    _compare_with_full_lgg(dataset, facts, findings)
    _check_grey_as_rgb(dataset, volumes, findings)
    return CheckReport(path, _worst_first(findings.found), facts)


def _by_volume(slices: Sequence[SliceMeasures]) -> dict[str, list[SliceMeasures]]:
    volumes: dict[str, list[SliceMeasures]] = {}
    for measured in slices:
        volumes.setdefault(measured.record.volume, []).append(measured)
    return volumes


def _facts(dataset: SliceDataset, volumes: dict[str, list[SliceMeasures]]) -> Facts:
    slices = [measured for volume in volumes.values() for measured in volume]
    images = [measured.image for measured in slices if measured.image]
    masks = [measured.mask for measured in slices if measured.mask]
    copies = {patient: equal_channels(volume) for patient, volume in volumes.items()} if is_lgg(dataset) else {}
    institutions = [dataset.attributes.get(patient, {}).get("institution") for patient in dataset.patients]
    return Facts(
        patients=len(dataset.patients),
        patients_known=dataset.patients_known,
        slices=len(slices),
        positive_slices=sum(mask.foreground > 0 for mask in masks),
        foreground_pixels=sum(mask.foreground for mask in masks),
        label_pixels=label_pixels(slices, dataset.labels),
        post_is_flair=tuple(patient for patient, (_, post) in copies.items() if post),
        pre_and_post_are_flair=tuple(patient for patient, (pre, post) in copies.items() if pre and post),
        constant_planes=sum(len(image.constant_channels) for image in images),
        slices_with_constant_plane=sum(bool(image.constant_channels) for image in images),
        sizes=dict(Counter(f"{image.shape[0]}x{image.shape[1]}x{image.shape[2]}" for image in images)),
        institutions=dict(Counter(name for name in institutions if name)),
    )


def _check_doubled_tree(listing: Listing, findings: Findings) -> None:
    for kept, copy in listing.copies:
        try:
            same = sha256_of(kept) == sha256_of(copy)
        except OSError:
            continue  # reported as unreadable already
        if not same:
            text = f"differs from {kept}, which has the same name and size. Find out which is right; remove the other."
            findings.error("copy-differs", copy, text)


def _check_patients(dataset: SliceDataset, findings: Findings) -> None:
    if not dataset.patients_known and len(dataset.records) > 1:
        text = "nobody says which images are of one patient, so a split may leak. Give --patient-regex or a manifest."
        findings.warning("patients-unknown", dataset.root, text)


def _check_grey_as_rgb(dataset: SliceDataset, volumes: dict[str, list[SliceMeasures]], findings: Findings) -> None:
    equal = sum(all(equal_channels(volume)) for volume in volumes.values())
    if equal and not is_lgg(dataset):
        text = f"three equal channels in {equal} of {dataset.unit.count(len(volumes))}: grey images stored as RGB?"
        findings.note("equal-channels", dataset.root, text)


def _compare_with_full_lgg(dataset: SliceDataset, facts: Facts, findings: Findings) -> None:
    if not are_of_tcga(dataset.patients):
        return
    differing = [
        f"{name} {value} (not {FULL_LGG[name]})" for name, value in counts(facts).items() if value != FULL_LGG[name]
    ]
    if facts.patients < FULL_LGG["patients"]:
        findings.note(
            "lgg-part", dataset.root, f"{facts.patients} of the {FULL_LGG['patients']} patients of the LGG set."
        )
    elif differing:
        text = f"not the LGG set as published: {', '.join(differing)}. Download it again."
        findings.warning("lgg-differs", dataset.root, text)


def _worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (RANK[finding.severity], finding.code)))

"""`images/` beside `masks/`: a file in each with the same stem, or with `_mask` added in `masks/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.core.wording import with_article
from segmed.data.listing import Findings, Listing, find_unpaired, grouped, in_order, natural_key
from segmed.data.names import COCO, COCO_WHAT, composed, undecodable, unread
from segmed.io.formats import FORMATS, IMAGE_SUFFIXES, MASK_SUFFIXES


def list_folder(root: Path, labels: LabelMap, patient_regex: str | None = None) -> Listing:
    """List `root/images` and `root/masks`; without a mask folder, or with an empty one, masks are None.

    Every image is a patient of its own unless `patient_regex` finds the patient in its stem, see `grouped`. Names are
    paired and kept in composed Unicode. What holds images or masks but is not read is an error, never left out.
    """
    findings = Findings()
    images = _by_stem(root / "images", IMAGE_SUFFIXES, findings, kind="image")
    masks = _by_stem(root / "masks", MASK_SUFFIXES, findings, kind="mask")
    find_unpaired(images, masks, findings, lambda stem: f"masks/{stem}.png or the like")
    if images and not masks:
        _find_other_labels(root, findings)
    records = [
        Record(stem, stem, 1, path, masks.get(stem))
        for stem, path in sorted(images.items(), key=lambda item: natural_key(item[0]))
    ]
    if patient_regex is not None:
        records = grouped(records, patient_regex, findings)
    name, known = root.resolve().name, patient_regex is not None
    return Listing(SliceDataset(name, root, in_order(records), labels, patients_known=known), tuple(findings.found))


def other_labels(root: Path) -> Iterator[tuple[Path, str]]:
    """Labels in `root` in a form that is not read, each with what to do."""
    for folder in (root / "labels", root / "annotations"):
        if folder.is_dir() and any(folder.iterdir()):
            text = "is not read. Call the folder masks if it holds masks as images; draw outlines and boxes as masks."
            yield folder, text
    for path in sorted(root.glob("*.json")):
        if COCO.search(path.name):
            yield path, f"is not read beside images; expected {COCO_WHAT}, an object. Or draw masks."


def _find_other_labels(root: Path, findings: Findings) -> None:
    for path, text in other_labels(root):
        findings.error("unread-labels", path, text)


def _by_stem(folder: Path, suffixes: Sequence[str], findings: Findings, *, kind: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            _find_nested(path, suffixes, findings, kind=kind)
        elif (fault := undecodable(path)) is not None:
            findings.error("name", path, fault)
        elif path.suffix.lower() not in suffixes:
            _find_extra(path, suffixes, findings, kind=kind)
        else:
            stem = composed(path.stem.removesuffix("_mask") if kind == "mask" else path.stem)
            if stem in files:
                text = f"a second {kind} of slice {stem}, besides {files[stem].name}. Keep one."
                findings.error(f"doubled-{kind}", path, text)
            else:
                files[stem] = path
    return files


def _find_nested(folder: Path, suffixes: Sequence[str], findings: Findings, *, kind: str) -> None:
    """An error for a sub-folder that holds what would be read if it lay above."""
    if folder.name.startswith("__MACOSX"):
        return
    below = [path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file()]
    count = sum(path.suffix.lower() in suffixes or unread(path) is not None for path in below)
    if count:
        text = (
            f"{kind}s in a sub-folder ({count}) are not read. Put them into {folder.parent.name}/ itself, or list "
            "all images in a manifest."
        )
        findings.error(f"nested-{kind}s", folder, text)


def _find_extra(path: Path, suffixes: Sequence[str], findings: Findings, *, kind: str) -> None:
    reason = unread(path)
    image = next((row.name for row in FORMATS if path.suffix.lower() in row.suffixes), None)
    if image is not None and kind == "mask":
        reason = f"{image} changes the values of labels, so it is not read as a mask. Export masks again, as PNG."
    if reason is not None:
        findings.error(f"unread-{kind}", path, reason)
    else:
        findings.warning("extra-file", path, f"not {with_article(kind)} file ({', '.join(suffixes)}); it is ignored.")

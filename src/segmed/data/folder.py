"""`images/` beside `masks/`: a file in each with the same stem, or with `_mask` added in `masks/`."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.core.wording import with_article
from segmed.data.listing import Findings, Listing, find_unpaired, grouped, in_order, natural_key
from segmed.io.formats import IMAGE_SUFFIXES, MASK_SUFFIXES


def list_folder(root: Path, labels: LabelMap, patient_regex: str | None = None) -> Listing:
    """List `root/images` and `root/masks`; without a mask folder, or with an empty one, masks are None.

    Every image is a patient of its own unless `patient_regex` finds the patient in its stem, see `grouped`.
    """
    findings = Findings()
    images = _by_stem(root / "images", IMAGE_SUFFIXES, findings, kind="image")
    masks = _by_stem(root / "masks", MASK_SUFFIXES, findings, kind="mask")
    find_unpaired(images, masks, findings, lambda stem: f"masks/{stem}.png or the like")
    records = [
        Record(stem, stem, 1, path, masks.get(stem))
        for stem, path in sorted(images.items(), key=lambda item: natural_key(item[0]))
    ]
    if patient_regex is not None:
        records = grouped(records, patient_regex, findings)
    name, known = root.resolve().name, patient_regex is not None
    return Listing(SliceDataset(name, root, in_order(records), labels, patients_known=known), tuple(findings.found))


def _by_stem(folder: Path, suffixes: Sequence[str], findings: Findings, *, kind: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() not in suffixes:
            findings.warning(
                "extra-file", path, f"not {with_article(kind)} file ({', '.join(suffixes)}); it is ignored."
            )
            continue
        stem = path.stem.removesuffix("_mask") if kind == "mask" else path.stem
        if stem in files:
            findings.error(
                f"doubled-{kind}", path, f"a second {kind} of case {stem}, besides {files[stem].name}. Keep one."
            )
        else:
            files[stem] = path
    return files

"""Download a public data set, once the user has agreed to its licence."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import refuse_links
from segmed.core.optional import optional_import
from segmed.core.progress import Progress, tracked
from segmed.core.records import SliceDataset
from segmed.data.layouts.lgg import CLINICAL_TABLE, LABELS, list_lgg
from segmed.data.listing import require_no_errors

FOLDER = "kaggle_3m"


@dataclass(frozen=True)
class Download:
    """A data set on Kaggle: its handle there, its licence in words, and who made it."""

    handle: str
    title: str
    licence: str
    cite: str


DOWNLOADS: dict[str, Download] = {
    "lgg": Download(
        handle="mateuszbuda/lgg-mri-segmentation",
        title="Brain MRI segmentation (lower-grade glioma, 110 patients of TCGA-LGG)",
        licence="CC BY-NC-SA 4.0: name the authors, share alike, no commercial use",
        cite="Buda, Saha and Mazurowski, Computers in Biology and Medicine 109 (2019)",
    )
}


def find_download(name: str) -> Download:
    """The download called `name`; raises `DataError` that lists the known ones."""
    if name not in DOWNLOADS:
        raise DataError(f"Unknown data set {name!r}. Choose one of: {', '.join(sorted(DOWNLOADS))}.")
    return DOWNLOADS[name]


def get_lgg(dest: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Download the LGG set by kagglehub and return its folder.

    Without `dest` it stays in kagglehub's cache. Otherwise each slice is copied once to `dest/kaggle_3m`; where that
    folder is already there with the data in it, nothing is downloaded.

    Raises `MissingDependencyError` without kagglehub; `DataError` without network or permission, with the way to
    download by hand; and `DataError` where `dest` holds something else or cannot be written.
    """
    target = None if dest is None else dest / FOLDER
    if target is not None and _is_there(target):
        return target
    if target is not None:
        refuse_links(target, itself=True)  # before hours of download
    source = _download(DOWNLOADS["lgg"])
    dataset = require_no_errors(list_lgg(source, LABELS))
    if not dataset.records:
        raise DataError(f"{source}: the download holds no slice. Remove this folder and try again.")
    if target is None:
        return source
    _copy_once(dataset, target, progress)
    return target


def _is_there(target: Path) -> bool:
    if not target.is_dir() or not any(target.iterdir()):
        return False
    if not require_no_errors(list_lgg(target, LABELS)).records:
        raise DataError(f"{target}: holds something else than the LGG set. Choose another folder.")
    return True


def _download(download: Download) -> Path:
    kagglehub = optional_import("kagglehub", extra="get", purpose="Downloading from Kaggle")
    try:
        return Path(kagglehub.dataset_download(download.handle))
    except Exception as error:  # kagglehub lets through its own, requests' and urllib3's errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{download.handle}: the download failed ({reason}). By hand: open the page of that name under Kaggle's "
            "datasets, choose Download, unzip the archive, and point --data at the folder."
        ) from error


def _copy_once(dataset: SliceDataset, target: Path, progress: Progress | None) -> None:
    """Copy aside and rename, so that an interrupted copy is never taken for the data set."""
    aside: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        _copy_files(dataset, aside, progress)
        aside.chmod(0o755)
        aside.rename(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{target}: cannot be written ({reason}). Free some space or choose another folder.") from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _copy_files(dataset: SliceDataset, folder: Path, progress: Progress | None) -> None:
    for record in tracked(dataset.records, progress):
        study = folder / record.image.parent.name
        study.mkdir(exist_ok=True)
        for path in (record.image, record.mask):
            if path is not None:
                shutil.copyfile(path, study / path.name)
    table = _clinical_table(dataset)
    if table is not None:
        shutil.copyfile(table, folder / CLINICAL_TABLE)


def _clinical_table(dataset: SliceDataset) -> Path | None:
    """`data.csv` beside the studies."""
    studies = os.path.commonpath([record.image.parent.parent for record in dataset.records])
    table = Path(studies) / CLINICAL_TABLE
    return table if table.is_file() else None

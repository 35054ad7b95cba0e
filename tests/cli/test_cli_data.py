"""`segmed data`, from the command line's side."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner, Result

from segmed.cli.data import app
from segmed.core.errors import ConfigError, DataError, SplitError
from segmed.core.split import Split
from segmed.data.sources import open_dataset

PATIENTS = ("TCGA_CS_0001", "TCGA_CS_0002", "TCGA_DU_0003", "TCGA_DU_0004", "TCGA_HT_0005", "TCGA_HT_0006")
SIZE = (18, 25)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six patients of four slices in the Kaggle layout, two positive each."""
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    block = np.zeros(SIZE, np.uint8)
    block[3:9, 4:12] = 255
    for patient in PATIENTS:
        study = f"{patient}_19990101"
        (tmp_path / "tree" / study).mkdir(parents=True)
        for number in (1, 2, 3, 4):
            stem = tmp_path / "tree" / study / f"{study}_{number}"
            image = generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            Pillow.fromarray(image).save(f"{stem}.tif")
            Pillow.fromarray(block if number in (2, 3) else block * 0).save(f"{stem}_mask.tif")
    return tmp_path / "tree"


def run(*arguments: object, answer: str | None = None) -> Result:
    """Run without catching errors: `segmed.cli.main` turns them into one line."""
    return CliRunner().invoke(app, [str(a) for a in arguments], input=answer, catch_exceptions=False)


def test_check_prints_facts_and_ends_with_zero_where_all_is_well(tree: Path) -> None:
    result = run("check", tree)
    assert result.exit_code == 0
    assert "slices with foreground" in result.stdout
    assert "0 errors, 0 warnings, 1 note." in result.stdout


def test_check_names_the_file_of_each_error_and_ends_with_one(tree: Path) -> None:
    name = "TCGA_CS_0001_19990101/TCGA_CS_0001_19990101_2_mask.tif"
    (tree / name).write_bytes(b"")
    result = run("check", tree)
    assert result.exit_code == 1
    assert name in result.stdout
    assert "zero bytes" in result.stdout
    assert "1 error, " in result.stdout


def test_check_shows_the_first_of_many_findings_unless_asked_for_all(tree: Path) -> None:
    for path in tree.rglob("*_1_mask.tif"):
        path.write_bytes(b"")
    assert "and 1 more of this kind" in run("check", tree).stdout
    assert "more of this kind" not in run("check", tree, "--all").stdout


def test_check_prints_json_for_programs(tree: Path) -> None:
    (tree / "TCGA_CS_0001_19990101" / "TCGA_CS_0001_19990101_2_mask.tif").unlink()
    result = run("check", tree, "--json")
    value = json.loads(result.stdout)
    assert result.exit_code == 1
    assert value["facts"]["slices"] == 24
    assert "missing-mask" in {finding["code"] for finding in value["findings"]}


def test_check_reads_masks_with_the_labels_given(tree: Path) -> None:
    result = run("check", tree, "--labels", "background=0,tumour=7")
    assert result.exit_code == 1
    assert "mask value 255 is not a label" in result.stdout


def test_check_writes_hashes_and_compares_with_them(tree: Path, tmp_path: Path) -> None:
    assert run("check", tree, "--write-hashes", tmp_path / "h.csv").exit_code == 0
    assert run("check", tree, "--hashes", tmp_path / "h.csv").exit_code == 0
    (tree / "TCGA_CS_0001_19990101" / "TCGA_CS_0001_19990101_1.tif").write_bytes(b"other")
    result = run("check", tree, "--hashes", tmp_path / "h.csv")
    assert "hash-changed" in result.stdout


def test_check_takes_the_plane_of_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    root, split = tmp_path / "set" / "volumes", tmp_path / "split.json"
    run("phantom", tmp_path / "set", "--format", "nifti", "--patients", 5, "--size", 48)
    run("split", root, "--plane", "coronal", "--out", split)
    assert run("check", root, "--split", split, "--plane", "coronal").exit_code == 0
    assert run("check", root, "--split", split).exit_code == 1


def test_split_by_patient_writes_a_file_and_prints_that_nothing_leaks(tree: Path, tmp_path: Path) -> None:
    result = run("split", tree, "-o", tmp_path / "s.json", "--ratios", "0.5,0.2,0.3")
    split = Split.load(tmp_path / "s.json")
    assert result.exit_code == 0
    assert "(0.0%) have a neighbouring slice in training; 0 of" in result.stdout
    assert "LEAKING" not in result.output
    assert sum(len(split.folds[0].part(part)) for part in ("train", "validation", "test")) == 24


def test_split_prints_patients_slices_and_positive_slices_of_each_part(tree: Path, tmp_path: Path) -> None:
    result = run("split", tree, "-o", tmp_path / "s.json", "--folds", "6")
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines() if "fold" in line]
    tests = [row for row in rows if row[:1] == ["fold"] and row[2] == "test"]
    assert [row[1:] for row in tests] == [[fold, "test", "1", "4", "2"] for fold in "012345"]


def test_split_by_slice_says_leaking_loudly(tree: Path, tmp_path: Path) -> None:
    result = run("split", tree, "-o", tmp_path / "s.json", "--strategy", "slice")
    assert "LEAKING: patients are in several parts" in result.stderr
    assert Split.load(tmp_path / "s.json").leaking
    checked = run("check", tree, "--split", tmp_path / "s.json")
    assert "split-leaking" in checked.stdout


def test_split_keeps_a_file_that_is_there_unless_forced(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("mine")
    with pytest.raises(DataError, match=r"s\.json: exists already"):
        run("split", tree, "-o", tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text() == "mine"
    assert run("split", tree, "-o", tmp_path / "s.json", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--ratios", "0.5,0.5"), ConfigError, "expected three numbers"),
        (("--ratios", "0.5,0.6,0.2"), SplitError, "sum to 1"),
        (("--ratios", "0.7,0.1,0.2", "--folds", "3"), ConfigError, "exclude each other"),
        (("--strategy", "slice", "--folds", "3"), ConfigError, "the reproduced paper's proportions"),
        (("--folds", "7"), SplitError, "cannot make 7 folds"),
        (("--folds", "0"), SplitError, "cannot make 0 folds"),
    ],
)
def test_split_refuses_options_that_make_no_sense(
    tree: Path, tmp_path: Path, options: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run("split", tree, "-o", tmp_path / "s.json", *options)
    assert not (tmp_path / "s.json").exists()


def test_manifest_names_patients_for_all_later_steps(tree: Path, tmp_path: Path) -> None:
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    for name in ("a_1", "a_2", "b_1"):
        Pillow.fromarray(np.zeros(SIZE, np.uint8)).save(images / f"{name}.png")
    result = run("manifest", tmp_path / "set", "--patient-regex", "^([^_]+)_", "-o", tmp_path / "m.csv")
    assert result.exit_code == 0
    assert open_dataset(tmp_path / "m.csv").patients == ("a", "b")


def test_phantom_makes_a_data_set_that_passes_the_check(tmp_path: Path) -> None:
    result = run("phantom", tmp_path / "p", "--patients", "2", "--seed", "3", "--size", "64")
    assert result.exit_code == 0
    folder = Path(result.stdout.strip())
    assert len(open_dataset(folder).patients) == 2
    assert run("check", folder).exit_code == 0


def test_preview_draws_what_was_asked_for(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    module = ModuleType("segmed.data.preview")
    module.contact_sheet = lambda decoded, **options: asked.update(options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "segmed.data.preview", module)
    result = run(
        "preview", tree, "-o", tmp_path / "sheet.png", "--rows", "2", "--preset", "reproduction", "--seed", "5"
    )
    assert result.stdout.strip() == str(tmp_path / "sheet.png")
    assert asked == {"preset": "reproduction", "seed": 5, "path": tmp_path / "sheet.png", "rows": 2}


@pytest.fixture
def kaggle(tree: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for kagglehub; the list fills with the handles that are downloaded."""
    asked: list[str] = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        return str(tree)

    module = ModuleType("kagglehub")
    module.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_get_names_the_licence_and_downloads_only_with_consent(kaggle: list[str], tmp_path: Path) -> None:
    refused = run("get", "lgg", tmp_path / "lgg", answer="n\n")
    assert "CC BY-NC-SA 4.0" in refused.stderr
    assert refused.exit_code == 1
    assert kaggle == []
    agreed = run("get", "lgg", tmp_path / "lgg", answer="y\n")
    assert agreed.exit_code == 0
    assert len(open_dataset(tmp_path / "lgg").records) == 24


def test_get_with_yes_asks_nothing_and_prints_where_the_data_is(kaggle: list[str], tmp_path: Path) -> None:
    result = run("get", "lgg", tmp_path / "lgg", "--yes")
    assert result.stdout.strip() == str(tmp_path / "lgg" / "kaggle_3m")


def test_get_of_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="Choose one of: lgg"):
        run("get", "brats", "--yes")


def test_slices_that_no_split_deals_out_are_told(tree: Path) -> None:
    run("manifest", tree, "--out", "all.csv")
    lines = Path("all.csv").read_text().splitlines()
    columns = lines[0].split(",")
    first = lines[1].split(",")
    first[columns.index("mask")] = ""
    Path("all.csv").write_text("\n".join([lines[0], ",".join(first), *lines[2:]]))
    result = run("split", "all.csv")
    assert f"1 slice without a mask is in no part, such as {first[columns.index('slice_id')]}" in result.stderr


def test_split_warns_of_patients_whose_ids_differ_by_case(tree: Path) -> None:
    run("manifest", tree, "--out", "all.csv")
    text = Path("all.csv").read_text().replace(",TCGA_CS_0002,", ",tcga_cs_1,")
    Path("all.csv").write_text(text)
    assert "TCGA_CS_0001 and tcga_cs_1 differ by case or leading zeros only" in run("split", "all.csv").stderr
    assert "alike-patients" in run("check", "all.csv").stdout


def test_check_names_a_file_whose_name_is_no_text_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in (b"a.png", b"caf\xe9.png"):
        Pillow.fromarray(np.ones((3, 5), np.uint8)).save(tmp_path / "images" / os.fsdecode(name))
    result = run("check", tmp_path)
    assert result.exit_code == 1
    assert "images/caf\\udce9.png" in result.stdout
    assert "its name is not UTF-8 text" in result.stdout


def test_a_folder_in_the_place_of_a_file_is_not_offered_to_be_replaced(tree: Path) -> None:
    with pytest.raises(DataError, match="is a folder, where a file is to be written"):
        run("split", tree, "--out", tree.parent)


def test_nobody_is_asked_for_a_regex_that_the_layout_refuses(tree: Path) -> None:
    for patient in PATIENTS:
        for number in (2, 3, 4):
            for file in (tree / f"{patient}_19990101").glob(f"*_{number}*.tif"):
                file.unlink()
    run("manifest", tree, "--out", "all.csv")
    assert "--patient-regex" not in run("split", "all.csv").stderr
    assert "--patient-regex" not in run("check", "all.csv").stdout


def test_channels_that_only_lgg_has_are_not_told_of_other_data(tree: Path) -> None:
    assert "FLAIR" not in run("check", tree).stdout
    for file in tree.glob(f"{PATIENTS[0]}_19990101/*.tif"):
        if not file.stem.endswith("_mask"):
            pixels = np.array(Pillow.open(file))
            pixels[..., 2] = pixels[..., 1]
            Pillow.fromarray(pixels).save(file)
    assert "patients whose post-contrast is FLAIR" in run("check", tree).stdout


def test_check_prints_the_pixels_of_each_of_several_labels(tree: Path) -> None:
    assert "pixels of" not in run("check", tree).stdout
    stdout = run("check", tree, "--labels", "background=0,tumour=255,oedema=128").stdout
    rows = [line.replace("│", " ").split() for line in stdout.splitlines()]
    assert ["pixels", "of", "tumour", "576"] in rows
    assert ["pixels", "of", "oedema", "0"] in rows

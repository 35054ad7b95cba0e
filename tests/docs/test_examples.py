"""Every example in a docstring runs and prints what it says; every public name has one, and states its arguments."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from presupposed import Stock

import segmed
from doc_pages import REPOSITORY
from segmed.evaluation.run import evaluate_run, plan_evaluation

FIRST = (
    "losses",
    "metrics",
    "layers",
    "layers.gafl",
    "data.augment",
    "data.check",
    "data.phantom",
    "training",
    "inference",
    "study",
)
"""Packages whose functions and classes are called beside the public names."""
MADE = {"Augment", "AugmentConfig", "CheckReport", "Filtered", "Free", "GaflConfig", "Kernels"}
"""Classes of these that are made by what has an example."""
INNER = {"augment_for", "build_gafl", "hats", "radius", "ring_weights"}
"""Functions of these that other code of ours calls, and no user."""
PUBLIC = [name for name in segmed.__all__ if name != "__version__"]
SOURCE = REPOSITORY / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if re.search(r"^ +>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
]
GIVEN = {
    "core.image": ("slice.tif",),
    "core.split": ("split.json",),
    "io.reading": ("slice.tif", "mask.tif"),
    "io.volumes": ("patient.nii.gz",),
    "data.check.run": ("data",),
    "data.sources": ("data",),
    "data.decoded": ("data",),
    "data.splits": ("data",),
    "training.engine": ("data", "split.json"),
    "inference.base": ("runs/unet", "slice.tif"),
    "inference.ensemble": ("runs/unet", "slice.tif"),
    "inference.loading": ("runs/unet", "slice.tif"),
    "inference.predictor": ("runs/unet", "slice.tif"),
    "inference.prompted": ("runs/sam-tiny", "slice.tif"),
    "study.run": ("data",),
    "evaluation.run": ("data", "runs/unet"),
    "evaluation.compare": ("runs/unet/evaluation-test",),
    "evaluation.report": ("runs/unet/evaluation-test",),
    "evaluation.masks.score": ("labelsTs", "pred"),
}
"""The files that the examples of a module take for granted; other examples need none."""


AXIAL = np.array([[0.0, 0, -1, 0], [0, -1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]])
"""Slices of 5 mm from the feet up, rows to the back, columns to the left."""


def given(name: str, stock: Stock, here: Path) -> None:
    image, mask = stock.slices()[5]
    target = here / name
    if name == "data":
        stock.put("DATA", here)
        (here / "DATA").rename(target)
    elif name == "slice.tif":
        Pillow.fromarray(image).save(target)
    elif name == "mask.tif":
        Pillow.fromarray(mask).save(target)
    elif name == "patient.nii.gz":
        voxels = np.stack([image[..., 1] for image, _ in stock.slices()])
        segmed.write_volume(target, segmed.Volume(voxels, segmed.Grid(voxels.shape, AXIAL)))
    elif name == "runs/unet/evaluation-test":
        stock.put("runs/unet", here)
        data = segmed.decode(segmed.open_dataset(stock.phantom))
        predictor = segmed.load(here / "runs/unet", device="cpu")
        plan = plan_evaluation(predictor.folder, predictor.config, data)
        evaluate_run(predictor, data, plan, name="unet").save(target)
    else:
        stock.put(name, here)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_examples_print_what_they_say(
    module: str, stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in GIVEN.get(module.removeprefix("segmed."), ()):
        given(name, stock, tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {"segmed": segmed, "np": np, "Path": Path}
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module), extraglobs=names)
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    report: list[str] = []
    for example in found:
        runner.run(example, out=report.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(segmed, name)) or "")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_states_its_arguments_what_it_returns_and_what_it_raises(name: str) -> None:
    public = getattr(segmed, name)
    if not inspect.isfunction(public):
        return
    text, signature = inspect.getdoc(public) or "", inspect.signature(public)
    assert [argument for argument in signature.parameters if f"    {argument}: " not in text] == []
    assert "\nRaises:\n" in text
    assert ("\nReturns:\n" in text) == (signature.return_annotation not in (None, "None"))


CALLED = [
    (package, name)
    for package in FIRST
    for name, value in vars(importlib.import_module(f"segmed.{package}")).items()
    if (inspect.isfunction(value) or inspect.isclass(value))
    and not name.startswith("_")
    and value.__module__.startswith("segmed.")
    and name not in MADE | INNER
]


@pytest.mark.parametrize(("package", "name"), CALLED)
def test_what_a_package_exports_has_an_example_and_states_its_arguments_and_what_it_returns(
    package: str, name: str
) -> None:
    value = getattr(importlib.import_module(f"segmed.{package}"), name)
    text = inspect.getdoc(value) or ""
    assert ">>>" in text
    if inspect.isfunction(value):
        assert [argument for argument in inspect.signature(value).parameters if f"    {argument}: " not in text] == []
        assert "\nReturns:\n" in text
        assert ("\nRaises:\n" in text) or "    raise " not in inspect.getsource(value)


METHODS = [
    (name, method)
    for name in PUBLIC
    if inspect.isclass(public := getattr(segmed, name))
    for method, value in vars(public).items()
    if not method.startswith("_") and inspect.isfunction(value)
]


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_method_of_a_public_class_states_its_arguments_and_what_it_returns(name: str, method: str) -> None:
    public = getattr(getattr(segmed, name), method)
    text, signature = inspect.getdoc(public) or "", inspect.signature(public)
    arguments = [argument for argument in signature.parameters if argument != "self"]
    assert [argument for argument in arguments if f"    {argument}: " not in text] == []
    if arguments:
        assert ("\nReturns:\n" in text) == (signature.return_annotation not in (None, "None"))

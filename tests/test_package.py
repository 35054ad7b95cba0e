import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import segmed

HEAVY = {"torch", "torchvision", "lightning", "monai", "kornia", "segmentation_models_pytorch", "matplotlib"}


def test_importing_segmed_loads_neither_torch_nor_a_model_library() -> None:
    code = "import sys, segmed; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(done.stdout.split()) & (HEAVY | {"numpy"})


@pytest.mark.parametrize("name", segmed.__all__)
def test_every_public_name_can_be_reached(name: str) -> None:
    assert getattr(segmed, name) is not None


def test_public_names_are_offered_for_completion() -> None:
    assert set(segmed.__all__) <= set(dir(segmed))


def test_an_unknown_name_is_an_attribute_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match="'segmed' has no attribute 'lod'"):
        segmed.lod  # noqa: B018


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert segmed.__version__ == version("segmed-torch")


def test_no_two_test_files_share_a_name() -> None:
    names = [path.name for path in sorted(Path(__file__).parent.rglob("test_*.py"))]
    assert [name for name, times in Counter(names).items() if times > 1] == []  # pytest refuses the second of them

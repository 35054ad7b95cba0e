"""Every test runs with shapes checked, sockets blocked (pyproject), no hub, and a cache folder of its own."""

import gc
import importlib
import os
import signal
import sys
import tempfile

import pytest

_cache = tempfile.TemporaryDirectory(prefix="segmed-test-cache-")
os.environ["SEGMED_CACHE"] = _cache.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with Ctrl-C ignored
os.fsync = lambda fd: None  # what a power cut would need, which no test can see; thousands of calls take minutes
if "PYTEST_XDIST_WORKER" in os.environ:  # several workers share the processors; read when torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"

# Where bytecode is not kept, compiling SegMed and its tests takes 8 s in each worker and in each command a test starts.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Imported before the hook: a library that a module of ours is the first to import would be compiled anew in every
# process, since the hook gives bytecode another name meanwhile.
LIBRARIES = """
highdicom lightning.pytorch matplotlib.pyplot nibabel scipy.optimize scipy.stats segmentation_models_pytorch timm
torchvision transformers.models.sam.modeling_sam
"""


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # this process hands out tests to workers and imports none
    gc.disable()  # imports make no garbage, and looking for it takes a tenth of the time to collect tests
    for library in LIBRARIES.split():
        importlib.import_module(library)
    from signatures import check_signatures_of

    check_signatures_of("segmed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test's random weights are its own, whatever ran before it; those of its fixtures, set up next, are too."""
    importlib.import_module("torch").manual_seed(0)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()

"""A training that is stopped says how it goes on, leaves nothing half written, and is nobody else's meanwhile."""

import errno
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from runs import tiny_recipe, toy_and_split
from safetensors.torch import load_file, save_file

from segmed.core.errors import ConfigError, DataError, ModelError, SplitError, StoppedError
from segmed.core.files import locked
from segmed.core.records import Record
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.training import Hardware, Recipe, train
from segmed.training.callbacks import Callbacks, NoCallbacks
from segmed.training.run_log import logged
from segmed.training.stopping import resumable

RECIPE = tiny_recipe("epochs=2", "sampling.steps_per_epoch=2", "model.upsampler=bilinear-control")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


class Interrupting(NoCallbacks):
    """Presses Ctrl-C at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, done: int, loss: float) -> None:
        if done == self.at:
            signal.raise_signal(signal.SIGINT)


def started(
    toy: tuple[DecodedDataset, Split], out: Path, *, resume: bool = False, callbacks: Callbacks | None = None,
    recipe: Recipe = RECIPE,
) -> Path:  # fmt: skip
    return train(
        recipe, data=toy[0], split=toy[1], out=out, resume=resume, callbacks=callbacks, hardware=Hardware("cpu")
    )


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, which is reported as a full disk is: when it is written to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*") if path.name != ".lock")


@pytest.fixture(scope="module")
def stopped(toy: tuple[DecodedDataset, Split], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped by Ctrl-C in its second epoch."""
    out, before = tmp_path_factory.mktemp("stopped") / "run", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        started(toy, out, callbacks=Interrupting(3))
    assert signal.getsignal(signal.SIGINT) is before, "Ctrl-C does nothing any more"
    assert "stopped: KeyboardInterrupt" in (out / "log.txt").read_text()
    return out


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


@pytest.fixture(scope="module")
def resumed(toy: tuple[DecodedDataset, Split], stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, continued to its end; a kill had left files half written."""
    run = Path(shutil.copytree(stopped, tmp_path_factory.mktemp("resumed") / "run"))
    for folder in (run, run / "resume"):
        (folder / ".segmed-part-x.safetensors").touch()
    return started(toy, run, resume=True)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_stopped_by_ctrl_c_goes_on_and_what_a_kill_left_half_written_is_removed(resumed: Path) -> None:
    assert (resumed / "model.safetensors").is_file()
    assert hidden(resumed) == []


def with_names_of_0_1(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    former = {name.replace(".upsamplers.", ".raises."): tensor for name, tensor in tensors.items()}
    assert len(former.keys() - tensors.keys()) > 10
    return former


def test_a_run_that_0_1_left_unfinished_goes_on_to_the_same_weights(
    toy: tuple[DecodedDataset, Split], run: Path, resumed: Path
) -> None:
    """Its checkpoint, with averaged weights and the optimiser's state, and its best weights have 0.1's names."""
    checkpoint = torch.load(run / "resume" / "last.ckpt", weights_only=True)
    checkpoint["state_dict"] = with_names_of_0_1(checkpoint["state_dict"])
    torch.save(checkpoint, run / "resume" / "last.ckpt")
    (best,) = (run / "resume").glob("best-*.safetensors")
    save_file(with_names_of_0_1(load_file(best)), best)
    started(toy, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_a_full_disk_is_one_line_and_the_run_goes_on_where_there_is_room(
    toy: tuple[DecodedDataset, Split], tmp_path: Path, share: float
) -> None:
    """Weights do not fit at half their size, and the checkpoint with the optimiser's state at one and a half."""
    whole = started(toy, tmp_path / "whole")
    size = (whole / "model.safetensors").stat().st_size
    with (
        disk_of(int(share * size)),
        pytest.raises(StoppedError, match=r"run: training stopped, since a file cannot be written \(.*File too large"),
    ):
        started(toy, tmp_path / "run")
    assert hidden(tmp_path) == []
    started(toy, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/data/x.tif"),
            r"stopped \(/data/x\.tif: No such file\)\. Put",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", b"/d/y"),
            r"stopped \(/d/y: Permission denied\)\. Put that",
        ),
        (OSError("the network is gone"), r"stopped \(the network is gone\)\. Put that right"),
        (OSError(errno.ENOSPC, "No space left"), r"cannot be written \(No space left\)\. Make room"),
        (OSError(errno.EDQUOT, "Quota exceeded"), r"cannot be written \(Quota exceeded\)\. Make room"),
    ],
)
@pytest.mark.parametrize("within", [False, True])
def test_room_is_asked_for_where_it_is_missing_and_another_file_is_named(
    error: OSError, line: str, within: bool
) -> None:
    def fail() -> None:
        if within:
            raise DataError("in words") from error
        raise error

    with pytest.raises(StoppedError, match=f"runs/a: training .*{line}.* --resume"), resumable(Path("runs/a")):
        fail()


def test_checkpoints_need_no_temporary_folder_of_the_system(
    toy: tuple[DecodedDataset, Split], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(run / "not" / "there"))
    started(toy, run, resume=True)


def test_two_processes_do_not_train_one_run(toy: tuple[DecodedDataset, Split], run: Path) -> None:
    before = contents(run)
    with locked(run / ".lock", of=run) as alone:
        assert alone
        with pytest.raises(ConfigError, match="run: another process is training this run"):
            started(toy, run, resume=True)
    assert contents(run) == before


def test_a_run_with_links_in_it_is_not_continued(toy: tuple[DecodedDataset, Split], run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    shutil.move(run / "resume", precious)
    (precious / "best-7.safetensors").write_text("mine")
    (run / "resume").symlink_to(precious)
    before = contents(precious)
    with pytest.raises(DataError, match="run/resume: is a symbolic link"):
        started(toy, run, resume=True)
    assert contents(precious) == before


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SplitError("patient p07 is in two parts"), "stopped: SplitError"),
        (DataError("p07_3.png: damaged"), "stopped: DataError"),
        (ModelError("the loss is not a number"), "stopped: ModelError: the loss is not a number"),
        (ModelError("p07_3.png: has 1 channel"), "stopped: ModelError"),
        (ConfigError("scans of /data/p07_3x differ"), "stopped: ConfigError"),
        (KeyError("p07_3"), "stopped: KeyError"),
        (KeyboardInterrupt(), "stopped: KeyboardInterrupt"),
    ],
)
def test_the_log_says_what_stopped_a_training_and_names_no_patient(
    tmp_path: Path, error: BaseException, line: str
) -> None:
    records = [Record("p07_3", "p07", 3, Path("p07_3.png"), None)]
    with pytest.raises(type(error)), logged(tmp_path, 0, records):
        raise error
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").rstrip().endswith(line)

"""What stops a training that has begun, and how it is left so that it goes on: locks, full disks, Ctrl-C."""

import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from segmed.core.errors import ConfigError, DataError, StoppedError
from segmed.core.escaping import shortened_text
from segmed.core.files import FULL, locked, number_of, remove_leftovers, written_aside
from segmed.core.replacing import LOCK
from segmed.inference.memory import ran_out
from segmed.training.checkpointing import resume_folder


class CheckpointInPlace(TorchCheckpointIO):
    """Write checkpoints aside in the folder where they are to lie, whole or not at all.

    Lightning's own way goes through the system's temporary folder, which may be full or small, and where a kill leaves
    what nobody removes.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`, on the disk itself. Raises `DataError` where it cannot be written."""
        content = io.BytesIO()  # torch reports a full disk in words of its own, a file as the system does
        torch.save(checkpoint, content)
        with written_aside(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint. Raises `ConfigError` that names the file and what to do where it is damaged."""
        try:
            return super().load_checkpoint(path, *args, **kwargs)
        except Exception as error:  # a damaged file can end in any error of Python's
            if ran_out(error):
                raise
            reason = shortened_text(" ".join(str(error).split())) or type(error).__name__
            raise ConfigError(
                f"{path}: the point to resume from cannot be read ({reason}). Copy the file again; or remove it, and "
                "--resume begins the run anew."
            ) from error


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep other processes from training in a run folder meanwhile, and remove what killed ones left half written.

    Raises `ConfigError` where another process trains there, and `DataError` where the folder cannot be written.
    """
    with locked(out / LOCK, of=out) as alone:
        if not alone:
            raise ConfigError(f"{out}: another process is training this run. Wait for it to end.")
        for folder in (out, resume_folder(out)):
            remove_leftovers(folder)
        yield
        with suppress(OSError):
            (out / LOCK).unlink()


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Say of what stops a training how it goes on.

    Lightning answers Ctrl-C by `SystemExit(1)` and leaves the signal ignored; both are put right.

    Raises:
        StoppedError: A file cannot be written, as where the disk is full, or read.
        KeyboardInterrupt: Ctrl-C.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    except OSError as error:
        raise StoppedError(_stopped(out, error)) from error
    except DataError as error:
        if isinstance(error.__cause__, OSError):
            raise StoppedError(_stopped(out, error.__cause__)) from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _stopped(out: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if number_of(error) in FULL:
        return (
            f"{out}: training stopped, since a file cannot be written ({reason}). Make room and continue with --resume."
        )
    what = reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"
    return f"{out}: training stopped ({what}). Put that right and continue with --resume."

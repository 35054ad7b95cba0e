"""The log of a training on disk, a quiet engine, and failures in words that a user can act on."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from segmed.core.errors import DataError, ModelError, SegmedError, SplitError, StoppedError
from segmed.core.pseudonyms import without_places
from segmed.core.records import Record
from segmed.inference.memory import ran_out
from segmed.training.callbacks import Callbacks
from segmed.training.checkpointing import resume_folder
from segmed.training.epoch_row import EpochRow
from segmed.training.recipe import Recipe


class LoggedCallbacks:
    """Pass events on, and write those worth keeping to the run's log."""

    def __init__(self, callbacks: Callbacks, log: logging.Logger) -> None:
        self._callbacks, self._log = callbacks, log

    def started(self, steps: int, done: int) -> None:
        self._log.info("steps: %d in all, %d done before", steps, done)
        self._callbacks.started(steps, done)

    def step(self, done: int, loss: float) -> None:
        self._callbacks.step(done, loss)

    def epoch(self, row: EpochRow) -> None:
        self._log.info(", ".join(f"{key} {value:.6g}" for key, value in row.to_columns().items()))
        self._callbacks.epoch(row)

    def finished(self, message: str) -> None:
        self._log.info("finished: %s", message)
        self._callbacks.finished(message)


@contextmanager
def logged(out: Path, rank: int, records: Iterable[Record] = ()) -> Iterator[logging.Logger]:
    """A logger that appends to the run's log.txt; of several processes the first one writes.

    What stops the training is quoted where it is an error in words that names none of `records`, which a run does not.
    """
    if rank == 0:  # another that is here first must not make the folder look begun
        resume_folder(out).mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"segmed.run.{abs(hash(out))}")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = _LogFile(out / "log.txt", encoding="utf-8") if rank == 0 else logging.NullHandler()
    handler.setFormatter(_WithoutPlaces("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield log
    except BaseException as error:
        with suppress(OSError):  # of a disk that is full, which is what stopped it
            log.error("stopped: %s%s", type(error).__name__, f": {error}" if _may_be_quoted(error, records) else "")
        raise
    finally:
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def _may_be_quoted(error: BaseException, records: Iterable[Record]) -> bool:
    """Whether an error is one in words that names no slice, volume or patient, nor a file of theirs."""
    if not isinstance(error, SegmedError) or isinstance(error, DataError | SplitError) or not str(error):
        return False  # data and splits are told of by names; errors of libraries may quote anything
    text = str(error)
    words = set(re.findall(r"\w+", text))
    names = {name for record in records for name in (record.slice_id, record.volume, record.patient)}
    names |= {name.rpartition("/")[2] for name in names}
    return not any(words.issuperset(re.findall(r"\w+", name)) or (len(name) > 3 and name in text) for name in names)


class _WithoutPlaces(logging.Formatter):
    """Lines of a log that may be shared."""

    def format(self, record: logging.LogRecord) -> str:
        return without_places(super().format(record))


class _LogFile(logging.FileHandler):
    """A log that says where it cannot be written, in place of a traceback on stderr for each of its lines."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the error through; `emit` calls this while it handles it."""
        raise


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Keep Lightning's banners and advice, which our defaults already answer, off the user's screen."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*tensorboardX.*")
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the Dice is already that of all processes
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # the averaged weights
        warnings.filterwarnings("ignore", message=".*AMP with fp16 is not supported on CPU.*")  # `train` says so
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")  # `train_on: all` says so
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 beside torch 2.14
        try:
            yield
        finally:
            logger.setLevel(level)


@contextmanager
def explained_failures(recipe: Recipe, out: Path) -> Iterator[None]:
    """Turn what a user can act on into one line: memory, and being stopped."""
    try:
        yield
    except SegmedError:
        raise
    except SIGTERMException as error:
        raise StoppedError(f"{out}: stopped by SIGTERM. Continue with --resume.") from error
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise ModelError(
                f"{recipe.model.name} needs at least two slices in a batch to normalise. Raise sampling.batch_size."
            ) from error
        raise
    except (RuntimeError, MemoryError) as error:
        if ran_out(error):
            size, batches = recipe.sampling.batch_size, recipe.sampling.steps_per_epoch
            raised = "optim.accumulate"
            if batches is not None:  # else an epoch has more of the smaller batches by itself
                raised += f" and sampling.steps_per_epoch (now {batches} batches)"
            raise ModelError(
                f"Out of memory. Lower sampling.batch_size (now {size}) and raise {raised} in proportion, "
                "which trains the same, or set a smaller preprocess.size."
            ) from error
        raise

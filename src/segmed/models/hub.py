"""The Hugging Face hub: only a name written `hf:owner/name` means it, so that a mistyped path downloads nothing."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from segmed.core.errors import ModelError

PREFIX = "hf:"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def hub_id(place: str | Path) -> str | None:
    """The hub's `owner/name` where `place` is written `hf:owner/name`; None for a path.

    Raises:
        ModelError: What follows `hf:` is no `owner/name`.

    Example:
        assert hub_id("hf:facebook/sam-vit-base") == "facebook/sam-vit-base"
        assert hub_id("runs/unet") is None
    """
    text = str(place)
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if not HUB_ID.fullmatch(name):
        raise ModelError(f"{text}: a model of the hub is written {PREFIX}owner/name, such as {PREFIX}someone/unet.")
    return name


def run_folder(place: str | Path, *, files: Sequence[str]) -> Path:
    """The folder of a run: `place` itself, or what of `files` the hub has under `hf:owner/name`.

    Args:
        place: A folder, or `hf:owner/name`.
        files: Names or patterns of the files that are fetched.

    Raises:
        ModelError: There is no such folder, or the hub has or gives none.
    """
    name = hub_id(place)
    if name is None:
        return _existing(Path(place))
    try:
        return fetched(name, files=files)
    except OSError as error:
        raise ModelError(
            f"{place}: not reachable on the hub ({_first_line(error)}). Check the name or the connection, or give the "
            "path of a folder."
        ) from error


def require_local(place: str | Path) -> None:
    """Raise `ModelError` where `place` is no folder here, for what writes into a run or names it by its path."""
    if hub_id(place) is not None:
        raise ModelError(f"{place}: is on the hub, and a run's folder here is needed. Download it, and give its path.")
    _existing(Path(place))


def fetched(name: str, *, files: Sequence[str]) -> Path:
    """The folder of the hub's cache that holds `files` (names or patterns) of `owner/name`, downloaded once.

    Raises `OSError` where the hub cannot be reached or has no such model; its retries are not logged.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        with quiet_hub():
            return Path(snapshot_download(name, allow_patterns=list(files)))
    except HFValidationError as error:
        raise OSError(str(error)) from error


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the hub's retries off the screen: where all of them fail, one line of ours says so."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _existing(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{folder}: is a file. Give the folder of a run.")
    raise ModelError(
        f"{folder}: there is no such folder. Check the path; a model of the hub is written {PREFIX}owner/name."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

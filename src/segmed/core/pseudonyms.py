"""Names that stand for patients, cases and slices in what is shared: made with a key that stays beside the data.

A plain hash of an id hides little: whoever can list likely ids can hash them all. A keyed one (HMAC, RFC 2104) says
nothing without the key, and gives equal names in all reports that are made with the same one.
"""

import hashlib
import hmac
import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import TEMPORARY, not_written

KEY_FILE = ".segmed-pseudonyms.key"
"""The file of the key, in the folder of a data set. It is not for sharing."""
KEY_BYTES = 32
_QUOTED = re.compile(r"""(['"])(?:~|[A-Za-z]:)?[/\\](?:(?!\1).)*?([^/\\'"]*)[/\\]?\1""")
_PLACE = re.compile(
    r"(?<![\w.~:/\\-])(?:~[/\\]|[A-Za-z]:[/\\]|\\\\|/)(?=[^\s/\\])"
    r"(?:[^\s\"',;:<>|]*[/\\])?([^\s\"',;:<>|/\\]*)"
)


@dataclass(frozen=True)
class Pseudonyms:
    """Makes names with one key."""

    key: bytes

    @classmethod
    def of_data(cls, root: Path) -> "Pseudonyms":
        """With the key beside the data in `root`, which is made where there is none yet.

        Raises:
            DataError: The key cannot be read or written, or is not one.
        """
        path = root / KEY_FILE
        if not path.is_file():
            _make_key(path)
        return cls.in_file(path)

    @classmethod
    def in_file(cls, path: Path) -> "Pseudonyms":
        """With the key in a file; raises `DataError` where it cannot be read, or is not one."""
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: the key of pseudonyms cannot be read ({error}). Put the right one back, or delete it for a "
                "new one: what was made with this one can then not be compared any more."
            ) from error
        if len(key) != KEY_BYTES:
            raise DataError(f"{path}: not a key of pseudonyms, which has {KEY_BYTES} bytes. Delete it for a new one.")
        return cls(key)

    @classmethod
    def for_once(cls) -> "Pseudonyms":
        """With a key that is forgotten: names that nothing else shares."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def fingerprint(self) -> str:
        """What tells keys apart, and says nothing of the key."""
        return self._digest("fingerprint")[:12]

    def digest(self, patient: str) -> str:
        """A patient's name in configs of runs: the key's fingerprint, a colon and 24 hex digits."""
        return f"{self.fingerprint}:{self._digest(f'seen {patient}')[:24]}"

    def _digest(self, text: str) -> str:
        return hmac.new(self.key, text.encode(errors="backslashreplace"), hashlib.sha256).hexdigest()

    def names(self, ids: Iterable[str], *, prefix: str) -> dict[str, str]:
        """A short name for each id, such as `patient-1f3a09c2`; different ids never share one."""
        names: dict[str, str] = {}
        taken: set[str] = set()
        for item in dict.fromkeys(ids):
            digest = self._digest(f"{prefix} {item}")
            length = 8
            while f"{prefix}-{digest[:length]}" in taken:
                length += 4
            names[item] = f"{prefix}-{digest[:length]}"
            taken.add(names[item])
        return names


def _make_key(path: Path) -> None:
    """Write a new key, for its owner alone; where several processes do so at once, one key stays and all read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")
            _put(Path(name), path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


def _put(key: Path, path: Path) -> None:
    """Give a whole file its name, unless another has it meanwhile."""
    try:
        os.link(key, path)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        key.replace(path)


def shareable(path: Path | str) -> str:
    """A path for what may be shared: from the current folder, or its last part where the way would tell of a home.

    Args:
        path: Of a file or folder, absolute or from the current folder.
    """
    full, here, home = Path(path).absolute(), Path.cwd(), Path.home()
    try:
        common = Path(os.path.commonpath([full, here]))
    except ValueError:  # on another drive
        return full.name
    return full.name if common == common.parent or common in home.parents else Path(os.path.relpath(full)).as_posix()


def without_places(text: str) -> str:
    """A text with every absolute path cut down to its last part, since folders name machines, users and patients.

    >>> without_places("segmed evaluate /home/jo/runs/unet --data '/data/P 1'")
    "segmed evaluate unet --data 'P 1'"
    """
    quoted = _QUOTED.sub(lambda found: f"{found[1]}{found[2] or '…'}{found[1]}", text)
    return _PLACE.sub(lambda found: found[1] or "…", quoted)


def shareable_command(words: Iterable[str]) -> str:
    """A command for what may be shared, quoted for a shell: its files and folders as `shareable` has them.

    A place is a word, what stands behind its first `=`, or a part of it between commas.

    >>> shareable_command(["segmed", "compare", "net=/home/jo/My runs/unet", "--patient-regex", "^(.+)/x"])
    "segmed compare net=unet --patient-regex '^(.+)/x'"
    """
    return shlex.join(map(_shareable_word, words))


def _shareable_word(word: str) -> str:
    head, equals, tail = word.partition("=")
    if equals and not _is_place(head):
        return f"{head}={','.join(map(_shareable_part, tail.split(',')))}"
    return ",".join(map(_shareable_part, word.split(",")))


def _shareable_part(text: str) -> str:
    return shareable(Path(text).expanduser()) if _is_place(text) else text


def _is_place(text: str) -> bool:
    """Whether a text is a path that tells more than its last part: absolute, of a home, or out of this folder."""
    return text.startswith("~") or Path(text).is_absolute() or ".." in Path(text).parts

"""Names that stand for patients and cases in what is shared: made with a key that stays beside the data.

A plain hash of an id hides little: whoever can list likely ids can hash them all. A keyed one (HMAC, RFC 2104) says
nothing without the key, and gives equal names in all reports that are made with the same one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import written_aside

KEY_FILE = ".segmed-pseudonyms.key"
"""The file of the key, in the folder of a data set. It is not for sharing."""
KEY_BYTES = 32
_PLACE = re.compile(r"(?<![\w.~:/\\-])(?:~|[A-Za-z]:)?[/\\](?=[^\s/\\])(?:[^\s\"',;:<>|]*[/\\])?([^\s\"',;:<>|/\\]*)")


@dataclass(frozen=True)
class Pseudonyms:
    """Makes names with one key."""

    key: bytes

    @classmethod
    def of_data(cls, root: Path) -> "Pseudonyms":
        """With the key beside the data in `root`, which is made where there is none yet.

        Raises:
            DataError: the key cannot be read or written, or is not one.
        """
        path = root / KEY_FILE
        try:
            if path.is_file():
                key = bytes.fromhex(path.read_text(encoding="ascii").strip())
            else:
                key = secrets.token_bytes(KEY_BYTES)
                with written_aside(path) as temporary:
                    temporary.write_text(key.hex() + "\n", encoding="ascii")
                path.chmod(0o600)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: the key of pseudonyms cannot be read or written ({error}). Make the folder writable, or "
                "leave the data out: names are then of this report alone."
            ) from error
        if len(key) != KEY_BYTES:
            raise DataError(f"{path}: not a key of pseudonyms, which has {KEY_BYTES} bytes. Delete it for a new one.")
        return cls(key)

    @classmethod
    def for_once(cls) -> "Pseudonyms":
        """With a key that is forgotten: names that nothing else shares."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def names(self, ids: Iterable[str], *, prefix: str) -> dict[str, str]:
        """A short name for each id, such as `patient-1f3a09c2`; different ids never share one."""
        names: dict[str, str] = {}
        for item in dict.fromkeys(ids):
            digest = hmac.new(self.key, f"{prefix} {item}".encode(), hashlib.sha256).hexdigest()
            length = 8
            while f"{prefix}-{digest[:length]}" in names.values():
                length += 4
            names[item] = f"{prefix}-{digest[:length]}"
        return names


def without_places(text: str) -> str:
    """A text with every absolute path cut down to its last part, since folders name machines, users and patients.

    >>> without_places("segmed evaluate /home/jo/runs/unet --data '/data/P 1'")
    "segmed evaluate unet --data 'P 1'"
    """
    return _PLACE.sub(lambda found: found[1] or "…", text)

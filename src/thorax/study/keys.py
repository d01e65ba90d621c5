"""Pseudonyms: keyed hashes that stand for the identifiers of patients. Without the key, trying all identifiers finds none."""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from thorax.errors import ThoraxError

FILE = "thorax-key.txt"
_LENGTH = 16  # hexadecimal digits of a pseudonym: two of a million patients share one with a probability of 3 in 100,000,000
_BYTES = 32
_HEADING = (
    "# The key of the pseudonyms that `thorax init` writes. Keep it here, and give it to nobody who may not know the patients."
)


def read_or_make(path: Path) -> bytes:
    """The key in a file, which only its owner may read; it is made where it does not exist."""
    if path.exists():
        lines = [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if not line.startswith("#")]
        text = "".join(lines).strip()
        if not re.fullmatch(f"[0-9a-f]{{{2 * _BYTES}}}", text):
            raise ThoraxError(f"{path} does not hold a key of thorax: move it away, and a new one is made.")
        return bytes.fromhex(text)
    key = secrets.token_bytes(_BYTES)
    try:
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        only_owner = lambda name, flags: os.open(name, flags, 0o600)  # so that it is never readable by others
        with open(new, "x", encoding="utf-8", opener=only_owner) as file:
            file.write(f"{_HEADING}\n{key.hex()}\n")
        new.replace(path)
    except OSError as error:
        advice = "make the folder writable, or name another file with --key, or keep the identifiers with --keep-ids"
        raise ThoraxError(f"{path} cannot be written ({error.strerror}): {advice}.") from error
    return key


def pseudonym(key: bytes, kind: str, *parts: str) -> str:
    """The pseudonym of an identifier: the kind's letter and 16 hexadecimal digits of HMAC-SHA256."""
    digest = hmac.new(key, "\0".join((kind, *parts)).encode(), hashlib.sha256).hexdigest()
    return kind[0] + digest[:_LENGTH]

"""Fetch one file from one address, resume what was interrupted, and keep only what is right.

Received bytes are stored in NAME.part next to the target and survive a broken connection, a signal and a killed process. The next
call continues with a Range request, which is valid only for the same version of the file: NAME.part.version has the entity tag, or
the date, that the server gave (If-Range, RFC 9110, section 13.1.5). The target's own name appears only once length and checksum
are right.
"""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.exceptions import InvalidSchema, InvalidURL, SSLError, TooManyRedirects
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

import thorax
from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.progress import Progress

_TEMPORARY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_FOR_GOOD = (TooManyRedirects, SSLError, InvalidSchema, InvalidURL)
_CONNECT = 30  # seconds
_RECEIVED, _HASHED = 2**16, 2**22  # bytes at once


@dataclass(frozen=True)
class Source:
    """A published file: its address, the page where people find it, its length and its checksum (md5:... or sha256:...), if known."""

    address: str
    page: str
    bytes: int | None = None
    checksum: str = ""


@dataclass(frozen=True)
class Patience:
    """When to try again, and when to give up; times in seconds."""

    tries: int = 8  # failures in a row without a new byte
    wait: float = 1.0  # before the second try; doubled each time
    longest_wait: float = 300.0  # also the longest that a server may ask for
    stalled: int = 60  # without a byte, after which a connection counts as broken


PATIENCE = Patience()


class _Wrong(Exception):
    """What arrives is not the published file, and why."""


class _Passing(Exception):
    """A failure that may pass, and the seconds that the server asks to wait."""

    def __init__(self, problem: str, wait: float = 0.0) -> None:
        super().__init__(problem)
        self.wait = wait


def fetch(source: Source, target: Path, patience: Patience = PATIENCE) -> str:
    """Make sure that `target` is the published file, and return its SHA-256; one that is there and right is not fetched again.

    It is an error if `target` is another file, if the address fails for good or too often, if what it sends is twice not the published
    file, or if another process fetches the same file.
    """
    with store.only_one(target):
        if target.exists():
            try:
                return _check(target, source, target.name)
            except _Wrong as wrong:
                raise ThoraxError(f"{target} is there, but {wrong}: move it away and run the same command again.") from None
        part, problem = partial(target), ""
        for _ in range(2):
            try:
                _transfer(source, part, patience, target)
                digest = _check(part, source, target.name)
            except _Wrong as wrong:
                problem = str(wrong)
                _discard(part)
                continue
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(target)
            _version(part).unlink(missing_ok=True)
            return digest
        by_hand = f"see {source.page}, or put the right file at {target} by hand"
        raise ThoraxError(f"{source.address} does not send the published file: {problem}. Nothing was kept; {by_hand}.")


def partial(target: Path) -> Path:
    """The file that has the bytes of an unfinished transfer."""
    return target.with_name(f"{target.name}.part")


def digests(path: Path, algorithms: set[str], name: str = "") -> dict[str, str]:
    """Compute checksums of a file, which is read once; the progress bar shows `name`, or the file's own."""
    hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms}
    try:
        with path.open("rb") as file, Progress(f"checking {name or path.name}", path.stat().st_size, "B") as progress:
            while block := file.read(_HASHED):
                for value in hashes.values():
                    value.update(block)
                progress.add(len(block))
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): make it readable.") from error
    return {algorithm: value.hexdigest() for algorithm, value in hashes.items()}


def _transfer(source: Source, part: Path, patience: Patience, target: Path) -> None:
    """Fill `part` to its end, trying again after failures that may pass."""
    furthest, failures, wait = _size(part), 0, patience.wait
    while source.bytes is None or _size(part) < source.bytes:
        try:
            return _request(source, part, patience, target)
        except _Passing as problem:
            moved = _size(part) > furthest
            furthest = max(furthest, _size(part))
            failures, wait = (1, patience.wait) if moved else (failures + 1, wait)
            if failures >= patience.tries:
                again = f"check the network and run the same command again, which continues after {_size(part):,} bytes"
                tried = f"{source.address} was tried {failures} times without success ({problem})"
                raise ThoraxError(f"{tried}: {again}; or see {source.page} and put the file at {target} by hand.") from None
            pause = min(max(wait, problem.wait), patience.longest_wait)
            print(f"{target.name}: {problem}; trying again in {pause:g} s", file=sys.stderr, flush=True)
            time.sleep(pause)
            wait *= 2


def _request(source: Source, part: Path, patience: Patience, target: Path) -> None:
    """Append to `part` what one request brings. A failure that may pass is `_Passing`, another length than the published one `_Wrong`."""
    version = _version(part).read_text(encoding="utf-8") if _version(part).is_file() else ""
    if not version and not source.checksum:  # nothing would reveal that two versions were joined
        _discard(part)
    offset = _size(part)
    headers = {"User-Agent": f"thorax/{thorax.__version__}", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={offset}-"} if offset else {}
    headers |= {"If-Range": version} if offset and version else {}
    by_hand = f"the address may have moved; look at {source.page}, and put the file at {target} by hand"
    try:
        with requests.Session() as session:
            session.max_redirects = 10
            if source.address.startswith("https:"):
                del session.adapters["http://"]  # no redirect may leave TLS
            certificates = os.environ.get("SSL_CERT_FILE") or True
            times = (_CONNECT, patience.stalled)
            with session.get(source.address, headers=headers, stream=True, timeout=times, verify=certificates) as reply:
                if offset and reply.status_code in (200, 416):
                    _discard(part)
                    raise _Passing("the file has changed, or its server cannot resume a transfer")
                problem = f"the server answered {reply.status_code}"
                if reply.status_code in _TEMPORARY_STATUS:
                    raise _Passing(problem, Retry().get_retry_after(reply.raw) or 0.0)
                if reply.status_code != (206 if offset else 200):
                    raise ThoraxError(f"{source.address} cannot be fetched ({problem}): {by_hand}.")
                _receive(reply, source, part, offset)
    except _FOR_GOOD as error:
        raise ThoraxError(f"{source.address} cannot be fetched ({error}): {by_hand}.") from error
    except (requests.RequestException, HTTPError) as error:
        raise _Passing(str(error)) from error
    except OSError as error:
        advice = "free some disk space or make it writable, and run the same command again, which continues from there"
        raise ThoraxError(f"{part} cannot be written ({error.strerror}): {advice}.") from error


def _receive(reply: requests.Response, source: Source, part: Path, offset: int) -> None:
    """Append a reply's body to `part`, block by block as it arrives."""
    with part.open("ab") as file, Progress(part.stem, source.bytes, "B", offset) as progress:
        _refuse_length(source, reply, offset)
        if not offset:
            tag = reply.headers.get("ETag", "")  # a weak tag, W/..., does not promise equal bytes
            _version(part).write_text(tag if tag.startswith('"') else reply.headers.get("Last-Modified", ""), encoding="utf-8")
        while block := reply.raw.read1(_RECEIVED):
            _refuse_length(source, reply, file.tell() + len(block))
            file.write(block)
            progress.add(len(block))


def _refuse_length(source: Source, reply: requests.Response, received: int) -> None:
    """Raise `_Wrong` where the server states or sends another length than the published one."""
    whole = reply.headers.get("Content-Range", "").rpartition("/")[2] or reply.headers.get("Content-Length", "")
    stated = int(whole) if whole.isdecimal() else source.bytes
    if source.bytes is not None and (stated != source.bytes or received > source.bytes):
        found = f"{stated:,}" if stated != source.bytes else "more"
        raise _Wrong(f"it has {found} bytes instead of {source.bytes:,}")


def _check(path: Path, source: Source, name: str) -> str:
    """The SHA-256 of a whole file. Raises `_Wrong` where it is not the published one."""
    size = _size(path)
    if source.bytes is not None and size != source.bytes:
        raise _Wrong(f"it has {size:,} bytes instead of {source.bytes:,}")
    algorithm, _, published = source.checksum.partition(":")
    found = digests(path, {"sha256", algorithm or "sha256"}, name)
    if published and found[algorithm] != published:
        raise _Wrong(f"its {algorithm} is {found[algorithm]} instead of {published}")
    if not published:
        print(f"{name}: no checksum is published; its sha256 is {found['sha256']}", file=sys.stderr, flush=True)
    return found["sha256"]


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version(part).unlink(missing_ok=True)

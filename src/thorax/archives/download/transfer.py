"""One file from one address: libcurl transfers and resumes, this module decides what is kept.

What has arrived lies in NAME.part beside the target and survives a cut, a signal and a killed process. The next call goes
on from its end with a Range request, which holds only for the same version of the file: NAME.part.version keeps the entity
tag, or the date, that the server named (If-Range, RFC 9110, section 13.1.5). The target's own name appears when length and
checksum are right, and never before.
"""

import email.utils
import hashlib
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import pycurl

import thorax
from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.storage.progress import Progress

_TEMPORARY_CODES = {
    pycurl.E_COULDNT_RESOLVE_PROXY,
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_PARTIAL_FILE,
    pycurl.E_OPERATION_TIMEDOUT,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_GOT_NOTHING,
    pycurl.E_SEND_ERROR,
    pycurl.E_RECV_ERROR,
    pycurl.E_HTTP2,
    92,  # a broken HTTP/2 stream
}
_TEMPORARY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_BLOCK = 2**22  # bytes that are hashed at once


@dataclass(frozen=True)
class Source:
    """A published file.

    Attributes:
        address: where it is.
        page: where a person finds it.
        bytes: its length; None where no source states it.
        checksum: like md5:9e107d9d... or sha256:...; empty where no source states it.
    """

    address: str
    page: str
    bytes: int | None = None
    checksum: str = ""


@dataclass(frozen=True)
class Patience:
    """When to try again, and when to give up.

    Attributes:
        tries: failures in a row without a new byte.
        wait: seconds before the second try; doubled each time.
        longest_wait: seconds; also the most that a server may ask for.
        stalled: seconds without a byte after which a connection counts as cut.
    """

    tries: int = 8
    wait: float = 1.0
    longest_wait: float = 300.0
    stalled: int = 60


PATIENCE = Patience()


def fetch(source: Source, target: Path, patience: Patience = PATIENCE) -> str:
    """Make sure that the published file lies at `target`; a file that is there and right is not fetched again.

    Returns:
        the file's SHA-256, in hexadecimal digits.

    Raises:
        ThoraxError: the file at `target` is another one; the address fails for good, or too often; what it sends is twice not
            the published file; the folder cannot be written; another process fetches the same file.
    """
    with store.only_one(target):
        if target.exists():
            wrong, digest = _examine(target, source, target.name)
            if wrong:
                raise ThoraxError(f"{target} is there, but {wrong}: move it away and run the same command again.")
            return digest
        wrong = ""
        for _ in range(2):
            part = partial(target)
            wrong = _transfer(source, part, patience, target)
            if not wrong:
                wrong, digest = _examine(part, source, target.name)
            if not wrong:
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                part.replace(target)
                _version(part).unlink(missing_ok=True)
                return digest
            _discard(part)
        raise ThoraxError(
            f"{source.address} does not send the published file: {wrong}. Nothing was kept; see {source.page}, "
            f"or put the right file at {target} by hand."
        )


def partial(target: Path) -> Path:
    """Where the bytes of an unfinished transfer lie."""
    return target.with_name(f"{target.name}.part")


def digests(path: Path, algorithms: set[str], name: str) -> dict[str, str]:
    """Checksums of a file, read once; says how far it is.

    Raises:
        ThoraxError: the file cannot be read.
    """
    hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms}
    try:
        with path.open("rb") as file, Progress(f"checking {name}", path.stat().st_size, "B") as progress:
            while block := file.read(_BLOCK):
                for value in hashes.values():
                    value.update(block)
                progress.add(len(block))
    except OSError as error:
        raise ThoraxError(f"{path} cannot be read ({error.strerror}): make it readable.") from error
    return {algorithm: value.hexdigest() for algorithm, value in hashes.items()}


@dataclass
class _Reply:
    """What one request has brought."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    refusal: str = ""  # why its body is not the published file
    failure: OSError | None = None  # of the local disk

    def header(self, line: bytes) -> None:
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):  # a redirect's headers do not count
            self.status, self.headers = int(text.split()[1]), {}
        elif ":" in text:
            name, _, value = text.partition(":")
            self.headers[name.lower()] = value.strip()

    def total(self) -> int | None:
        """Length of the whole file as the server states it."""
        stated = self.headers.get("content-range", "").rpartition("/")[2] if self.status == 206 else ""
        stated = stated or self.headers.get("content-length", "")
        return int(stated) if stated.isdecimal() else None

    def version(self) -> str:
        """What If-Range may name; a weak entity tag does not promise equal bytes."""
        tag = self.headers.get("etag", "")
        return tag if tag.startswith('"') else self.headers.get("last-modified", "")


def _transfer(source: Source, part: Path, patience: Patience, target: Path) -> str:
    """Fill `part` to its end, trying again after passing failures; returns why it is wrong, or an empty text."""
    furthest, failures, wait = _size(part), 0, patience.wait
    while source.bytes is None or _size(part) < source.bytes:
        reply, resumed, code, problem = _request(source, part, patience)
        if reply.failure:
            raise ThoraxError(
                f"{part} cannot be written ({reply.failure.strerror}): make room or make it writable, and run the same command "
                "again; it goes on from there."
            ) from reply.failure
        if reply.refusal:
            return reply.refusal
        if code == pycurl.E_OK and reply.status == (206 if resumed else 200):
            return ""
        if code == pycurl.E_RANGE_ERROR or (resumed and reply.status in (200, 416)):
            _discard(part)
            code, problem = pycurl.E_PARTIAL_FILE, "the file has changed, or its server cannot go on within it"
        elif code in (pycurl.E_HTTP_RETURNED_ERROR, pycurl.E_OK):
            problem = f"the server answered {reply.status}"
        if code not in _TEMPORARY_CODES and reply.status not in _TEMPORARY_STATUS:
            raise ThoraxError(
                f"{source.address} cannot be fetched ({problem}): the address may have moved; look at {source.page}, and put the "
                f"file at {target} by hand."
            )
        moved = _size(part) > furthest
        furthest = max(furthest, _size(part))
        failures, wait = (1, patience.wait) if moved else (failures + 1, wait)
        if failures >= patience.tries:
            raise ThoraxError(
                f"{source.address} was tried {failures} times without success ({problem}): check the network and run the same "
                f"command again, which goes on after {_size(part):,} bytes; or see {source.page} and put the file at {target} "
                "by hand."
            )
        pause = min(max(wait, _asked_wait(reply)), patience.longest_wait)
        print(f"{target.name}: {problem}; going on in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        wait *= 2
    return ""


def _request(source: Source, part: Path, patience: Patience) -> tuple[_Reply, bool, int, str]:
    """One request that appends to `part`; returns the reply, whether it was to go on, and libcurl's code and words."""
    version = _version(part).read_text(encoding="utf-8") if _version(part).is_file() else ""
    if not version and not source.checksum:  # then nothing would notice that two versions were joined
        _discard(part)
    offset, reply = _size(part), _Reply()
    curl = pycurl.Curl()
    try:
        with part.open("ab") as file, Progress(part.stem, source.bytes, "B", offset) as progress:

            def receive(block: bytes) -> int:
                expected = 206 if offset else 200
                if reply.status != expected:
                    return 0
                stated = reply.total() or source.bytes
                if source.bytes is not None and (stated != source.bytes or file.tell() + len(block) > source.bytes):
                    found = f"{stated:,}" if stated != source.bytes else "more"
                    reply.refusal = f"it has {found} bytes instead of {source.bytes:,}"
                    return 0
                try:
                    if file.tell() == 0:
                        _version(part).write_text(reply.version(), encoding="utf-8")
                    file.write(block)
                except OSError as error:
                    reply.failure = error
                    return 0
                progress.add(len(block))
                return len(block)

            secure = source.address.startswith("https:")
            headers = [f"If-Range: {version}"] if offset and version else []
            for option, value in {
                pycurl.URL: source.address,
                pycurl.USERAGENT: f"thorax/{thorax.__version__}",
                pycurl.CAINFO: os.environ.get("SSL_CERT_FILE") or certifi.where(),
                pycurl.FOLLOWLOCATION: True,
                pycurl.MAXREDIRS: 10,
                pycurl.PROTOCOLS: pycurl.PROTO_HTTPS if secure else pycurl.PROTO_HTTP,
                pycurl.REDIR_PROTOCOLS: pycurl.PROTO_HTTPS if secure else pycurl.PROTO_HTTP,
                pycurl.FAILONERROR: True,
                pycurl.HTTPHEADER: headers,
                pycurl.RESUME_FROM_LARGE: offset,
                pycurl.CONNECTTIMEOUT: 30,
                pycurl.LOW_SPEED_LIMIT: 1,
                pycurl.LOW_SPEED_TIME: patience.stalled,
                pycurl.NOSIGNAL: True,
                pycurl.NOPROGRESS: False,  # called every second, so that a signal is heard while the line is silent
                pycurl.XFERINFOFUNCTION: lambda *_: 0,
                pycurl.HEADERFUNCTION: reply.header,
                pycurl.WRITEFUNCTION: receive,
            }.items():
                curl.setopt(option, value)
            curl.perform()
            return reply, offset > 0, pycurl.E_OK, ""
    except pycurl.error as error:
        code, words = error.args
        return reply, offset > 0, code, words
    except OSError as error:
        reply.failure = error
        return reply, offset > 0, pycurl.E_WRITE_ERROR, ""
    finally:
        curl.close()


def _asked_wait(reply: _Reply) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 without one."""
    text = reply.headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0


def _examine(path: Path, source: Source, name: str) -> tuple[str, str]:
    """What is wrong with a whole file (empty if nothing), and its SHA-256."""
    size = _size(path)
    if source.bytes is not None and size != source.bytes:
        return f"it has {size:,} bytes instead of {source.bytes:,}", ""
    algorithm, _, published = source.checksum.partition(":")
    found = digests(path, {"sha256", algorithm or "sha256"}, name)
    if published and found[algorithm] != published:
        return f"its {algorithm} is {found[algorithm]} instead of {published}", ""
    if not published:
        print(f"{name}: no checksum is published; its sha256 is {found['sha256']}", file=sys.stderr, flush=True)
    return "", found["sha256"]


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version(part).unlink(missing_ok=True)

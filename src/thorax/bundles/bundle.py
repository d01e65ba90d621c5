"""Reading bundles. A file is used only if it is exactly what the manifest says; nothing in a bundle is run or unpacked to the disk."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from thorax.backend import Model
from thorax.bundles import contents as described
from thorax.bundles import networks
from thorax.bundles.contents import DO_NOT_USE, Contents, Manifest, StoredNetwork
from thorax.errors import ThoraxError

LARGEST_MANIFEST = 2**24  # bytes
LARGEST = 2**31  # bytes of all files, which no model here comes near
MOST_FILES = 1000
_BLOCK = 2**20
_LAST = b"PK\x05\x06" + bytes(18)  # the last record of a zip file without a comment begins so
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, LookupError)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were all there and undamaged when it was opened; see `open_bundle` for those that are opened `ahead`."""

    path: Path
    manifest: Manifest
    _ahead: dict[str, Future[bytes]] = field(default_factory=dict, repr=False, compare=False)  # files that a thread reads

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *_: object) -> None:
        """Do not begin to read more files `ahead`; the interpreter would wait for all of them before it ends."""
        for reading in self._ahead.values():
            reading.cancel()
        self._ahead.clear()

    @property
    def contents(self) -> Contents:
        """What the model is and what it needs."""
        return self.manifest.contents

    @cached_property
    def card(self) -> str:
        """The model card, in Markdown."""
        return self.read(described.CARD).decode("utf-8")

    @cached_property
    def data_sheet(self) -> str:
        """The data sheet, in Markdown."""
        return self.read(described.DATA_SHEET).decode("utf-8")

    def read(self, name: str) -> bytes:
        """The bytes of one of the files, compared with their digest."""
        if name not in self.manifest.files:
            raise ThoraxError(f"{self.path} has no file {name}: {DO_NOT_USE}.")
        if name in self._ahead:
            return self._ahead.pop(name).result()
        return _read(self.path, self.manifest, name)

    def check(self) -> None:
        """Wait for all files that are still read `ahead`, and refuse the bundle if one of them is damaged."""
        for reading in self._ahead.values():
            reading.result()

    def network(self, member: str) -> Model:
        """One of the networks, from packed images (n, size, size, views) to logits (n, classes), uncompiled, in float32.

        Keras must have been prepared (`backend.prepare`).
        """
        contents = self.contents
        model = self._network(f"networks/{member}", contents.networks[member])
        size = contents.image_set.size
        inputs, outputs = (None, size, size, contents.views), (None, len(contents.classes))
        self._check_shapes(model, f"networks/{member}", inputs, outputs)
        return model

    def segmenter(self) -> Model | None:
        """The lung segmenter, for `images.segmenter.predict_masks`; None if images are not cropped."""
        stored = self.contents.segmenter
        if stored is None:
            return None
        model = self._network(described.SEGMENTER, stored)
        shape = (None, stored.size, stored.size, 1)
        self._check_shapes(model, described.SEGMENTER, shape, shape)
        return model

    def _network(self, name: str, stored: StoredNetwork) -> Model:
        source = f"{self.path}, {name}"
        return networks.build(self.read(f"{name}.json"), self.read(f"{name}.weights"), stored.precision, source)

    def _check_shapes(self, model: Model, name: str, inputs: tuple, outputs: tuple) -> None:
        if (model.input_shape, model.output_shape) != (inputs, outputs):
            problem = f"{self.path}, {name}: it takes {model.input_shape} and gives {model.output_shape}"
            raise ThoraxError(f"{problem}, not {inputs} and {outputs}, as the manifest says: {DO_NOT_USE}.")


def open_bundle(path: Path | str, ahead: bool = False) -> Bundle:
    """Open a bundle and check all of it: the manifest, names, sizes and digests.

    With `ahead`, a thread reads the files and compares their digests while the program does something else; `Bundle.read` waits for
    it, and `Bundle.check` for all that have not been read. Their bytes are kept until they are read for the first time. Use it in a
    `with` statement, which stops the thread after an error.

    Raises ThoraxError if it is not a bundle, of a newer format, damaged, encrypted, too large, or if it has a file that is not in the
    manifest, twice, or outside its folder.
    """
    path = Path(path)
    with _opened(path) as archive:
        sizes = _listed(path, archive)
        if described.MANIFEST not in sizes:
            raise ThoraxError(f"{path} is not a bundle of thorax: name a file that `thorax bundle` wrote.")
        if sizes[described.MANIFEST] > LARGEST_MANIFEST:
            raise _refused(path, f"{described.MANIFEST} has {sizes[described.MANIFEST]:,} bytes")
        text = b"".join(_blocks(path, archive, described.MANIFEST, sizes[described.MANIFEST]))
        manifest = described.parse_manifest(text, str(path))
        _compare(path, sizes, manifest)
    if ahead:
        reader = ThreadPoolExecutor(1, "bundle")
        reading = {name: reader.submit(_read, path, manifest, name) for name in _in_order(manifest)}
        reader.shutdown(wait=False)
        return Bundle(path, manifest, reading)
    for name in manifest.files:
        _read(path, manifest, name)
    return Bundle(path, manifest)


def _in_order(manifest: Manifest) -> list[str]:
    """The files in the order in which they are needed: the segmenter, then the networks one by one."""
    contents = manifest.contents
    stored = [described.SEGMENTER] * bool(contents.segmenter) + [f"networks/{name}" for name in contents.members]
    first = [f"{name}.{suffix}" for name in stored for suffix in ("json", "weights")]
    return [*first, *(name for name in manifest.files if name not in first)]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file, with what the system and the library say of a bad one as one sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise ThoraxError(f"{path} is not there: name a bundle that `thorax bundle` wrote.") from error
    except _DAMAGED as error:
        raise ThoraxError(f"{path} is not a whole zip file ({str(error)[:200]}): {DO_NOT_USE}.") from error
    except OSError as error:
        raise ThoraxError(
            f"{path} cannot be read ({error.strerror or error}): make it readable, or name another bundle."
        ) from error


def _listed(path: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """The announced size of each file, if their names and sizes are those of a bundle."""
    infos = archive.infolist()
    with path.open("rb") as file:
        file.seek(-len(_LAST), os.SEEK_END)
        ends = file.read(4) == _LAST[:4]
    if archive.comment or not ends or min((info.header_offset for info in infos), default=0):
        raise _refused(path, "it has something besides files")
    if len(infos) > MOST_FILES:
        raise _refused(path, f"it has {len(infos):,} files")
    sizes: dict[str, int] = {}
    for info in infos:
        name = info.orig_filename
        if name in sizes:
            raise _refused(path, f"{name[:100]!r} is in it twice")
        if name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/"):
            raise _refused(path, f"{name[:100]!r} would leave its folder")
        if info.flag_bits & 1:
            raise _refused(path, f"{name[:100]!r} is encrypted")
        if info.compress_type not in _METHODS:
            raise _refused(path, f"{name[:100]!r} is compressed by another method than deflate")
        sizes[name] = info.file_size
    if (total := sum(sizes.values())) > LARGEST:
        raise _refused(path, f"it would unpack to {total:,} bytes")
    return sizes


def _compare(path: Path, sizes: dict[str, int], manifest: Manifest) -> None:
    """Refuse files that the manifest does not list, and those that it lists and that are not there, or of another size."""
    expected = {name: file.bytes for name, file in manifest.files.items()} | {described.MANIFEST: sizes[described.MANIFEST]}
    if extra := sorted(set(sizes) - set(expected)):
        raise _refused(path, f"{extra[0][:100]!r} is not in its manifest")
    stored = {f"networks/{name}" for name in manifest.contents.members}
    stored |= {described.SEGMENTER} if manifest.contents.segmenter else set()
    needed = {f"{name}.{suffix}" for name in stored for suffix in ("json", "weights")} | {described.CARD, described.DATA_SHEET}
    if missing := sorted((set(expected) | needed) - set(sizes)):
        raise _refused(path, f"{missing[0]} is missing")
    if wrong := sorted(name for name, size in expected.items() if sizes[name] != size):
        raise _refused(path, f"{wrong[0]} has {sizes[wrong[0]]:,} bytes, and the manifest says {expected[wrong[0]]:,}")


def _read(path: Path, manifest: Manifest, name: str) -> bytes:
    file = manifest.files[name]
    with _opened(path) as archive:
        data = b"".join(_blocks(path, archive, name, file.bytes))
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise _refused(path, f"{name} was changed or is damaged, as its digest is another one")
    return data


def _blocks(path: Path, archive: zipfile.ZipFile, name: str, size: int) -> Iterator[bytes]:
    """The content of a file, which must have the announced size; no more than that is unpacked."""
    seen = 0
    with archive.open(name) as file:
        while block := file.read(_BLOCK):
            seen += len(block)
            if seen > size:
                break
            yield block
    if seen != size:
        raise _refused(path, f"{name} has another size than it announces")


def _refused(path: Path, why: str) -> ThoraxError:
    return ThoraxError(f"{path} is not a bundle as thorax writes them: {why}; {DO_NOT_USE}.")

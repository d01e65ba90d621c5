"""Which files `thorax predict` reads: files, folders, and CSV files with a column of paths."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from thorax.errors import ThoraxError, did_you_mean
from thorax.images import files
from thorax.storage import csv_file

# Names of the column of paths, in small or capital letters
COLUMNS = ("path", "file", "filename", "file_name", "image_path", "image", "image_id", "image index")
LISTS = (".csv", ".csv.gz")
_NOT_NAMES = re.compile(r"[^\w.-]+")
# How the names of new files end, so that none replaces a radiograph
OVERLAY = ".overlay.png"
CAPTURE = ".capture.dcm"
REPORT = ".report.dcm"
LONGEST = 100  # bytes of a word in them, as file systems allow 255 for a name


class Listed(NamedTuple):
    """A file: its path as the user gave it, which names its rows, and where it is; of a pair, the first image."""

    name: str
    path: Path
    second: "Listed | None" = None  # the second image of a pair, for networks of two views

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        return [self.path] if self.second is None else [self.path, self.second.path]


def find(images: Sequence[Path], column: str | None = None) -> list[Listed]:
    """The files to predict, in the order given; those of a folder, with the folders in it, by name; no file twice.

    In a CSV file, paths are in `column`, or the one of `COLUMNS` or the only one that it has; relative ones start at its folder.
    A path that does not exist is an error where it was typed, and a missing image where it is in a CSV file.
    """
    found: dict[str, Listed] = {}
    for given in images:
        for listed in _of(given, column):
            found.setdefault(os.path.normpath(listed.path.absolute()), listed)  # links to one file are several images
    return of_different_names(list(found.values()))


def of_different_names(found: list[Listed]) -> list[Listed]:
    """The same, unless rows of two files could not be told apart."""
    names: dict[str, Listed] = {}
    for listed in found:
        if (other := names.setdefault(listed.name, listed)) is not listed:
            problem = f"{other.path} and {listed.path} are both called {listed.name!r}"
            raise ThoraxError(f"{problem}: give their full paths, or predict them one after the other.")
    return found


def refuse_to_replace(
    read: Iterable[Path], files: Mapping[str, Path | None], folders: Mapping[str, tuple[Path | None, str]]
) -> None:
    """Refuse options that would replace what is read: `files` and `folders` by the option that names them.

    A folder comes with the ending of the files that are written to it. Links count as themselves and as what they lead to.
    """
    places: Callable[[Path], set[Path]] = lambda path: {Path(os.path.normpath(path.absolute())), path.resolve()}
    known = {place: path for path in read for place in places(path)}
    for option, path in files.items():
        if path is not None and (found := next((known[place] for place in places(path) if place in known), None)):
            raise ThoraxError(f"{option}: {path} would replace {found}, which is read: name another file.")
    for option, (folder, ending) in folders.items():
        inside = places(folder) if folder is not None else set()
        for place, path in known.items():
            if place.parent in inside and place.name.lower().endswith(ending):
                raise ThoraxError(f"{option} {folder}: a new file could replace {path}, which is read: name another folder.")


class Names:
    """Names for the files of a folder, each given once, also where capital letters do not tell names apart."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def free(self, words: Iterable[str], ending: str, is_free: Callable[[str], bool] = lambda _: True) -> str:
        """The words, cut to `LONGEST`, as the name of a file, with a number where another file has the same or it is not free."""
        stem = ".".join(_cut(_NOT_NAMES.sub("_", word)) for word in words)
        names = (stem + (f"-{number}" if number > 1 else "") + ending for number in count(1))
        name = next(name for name in names if name.casefold() not in self.given and is_free(name))
        self.given.add(name.casefold())
        return name


def _cut(word: str) -> str:
    return word.encode()[:LONGEST].decode(errors="ignore")


def _of(given: Path, column: str | None) -> Iterable[Listed]:
    if given.is_dir():
        inside = list(_in_folder(given))
        if not inside:
            raise ThoraxError(f"{given} has no PNG, JPEG, TIFF or DICOM file: name a folder with radiographs.")
        return inside
    if given.name.lower().endswith(LISTS):
        return in_list(given, column)
    if not given.exists():
        raise ThoraxError(f"{given} is not there: check the path.")
    return [Listed(str(given), given)]


def _in_folder(folder: Path) -> Iterator[Listed]:
    """Files that begin as an image does, or whose name says that they are one; hidden files and folders are skipped."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and _is_image(path):
                yield Listed(str(path), path)


def _is_image(path: Path) -> bool:
    try:
        return files.is_image(path)
    except OSError:
        return False


def in_list(path: Path, column: str | None) -> list[Listed]:
    """The files that a CSV file names, row by row; see `find`."""
    if not path.is_file():
        raise ThoraxError(f"{path} is not there: check the path.")
    header = csv_file.read_header(path, [column] if column else [])
    name = column or _column_of_paths(path, header)
    if name not in header:
        raise ThoraxError(f"{path} has no column {name!r}{did_you_mean(name, header)}: name that of the paths with --column.")
    texts = csv_file.read_columns(path, [name])[name]
    for row, text in enumerate(texts):
        if not text:
            raise csv_file.cell_error(path, row, name, "the path is blank; write it, or delete the row")
    if texts.empty:
        raise ThoraxError(f"{path} has no rows: give a table with one row for each image.")
    return [Listed(text, path.parent / Path(text).expanduser()) for text in texts]


def _column_of_paths(path: Path, header: Sequence[str]) -> str:
    if len(header) == 1:
        csv_file.read_header(path, COLUMNS[:1])  # refuses other delimiters than commas, with which all columns look like one
        return header[0]
    spelt = {name.lower(): name for name in reversed(header)}
    found = next((spelt[name] for name in COLUMNS if name in spelt), None)
    if found is None:
        listed = ", ".join(repr(name) for name in header[:10])
        raise ThoraxError(f"{path} has no column {COLUMNS[0]!r} but {listed}: name that of the paths with --column.")
    return found

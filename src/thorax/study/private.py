"""What tells who a patient is, and which paths have it. Texts are runs of words: `HSJ-00001` is in `HSJ_1.PA.dcm`."""

import re
from collections.abc import Iterable, Mapping, Sequence

from thorax.study import columns, words

Words = tuple[str, ...]
_SHORTEST = 3  # Latin letters and digits of a text that is looked for in all paths; shorter ones only in those of the patient


def name_words(name: str) -> Words:
    """What a patient's name may be recognised by: its longer words, and the whole name in both orders.

    A word is long with three letters, or with two that are not Latin. DICOM separates the scripts of a name by an equals sign.
    """
    found: list[str] = []
    for script in name.split("="):
        parts = re.findall(r"[^\W\d_]+", words.plain(script))
        long = [word for word in parts if _is_long(word)]
        found += parts if len(parts) == 1 else long  # a whole name may be short
        for whole in (long, parts):
            if len(whole) > 1:
                turned = whole[::-1]
                found += [" ".join(whole), ", ".join(whole), " ".join(turned), "".join(whole), "".join(turned)]
    return tuple(dict.fromkeys(found))


def birth_forms(date: str) -> Words:
    """The forms of a date of DICOM, such as 19020301: also with year, month and day apart, in three orders."""
    if not re.fullmatch(r"\d{8}", date):
        return (date,) if date else ()
    year, month, day = date[:4], date[4:6], date[6:]
    return date, f"{year}-{month}-{day}", f"{day}-{month}-{year}", f"{month}-{day}-{year}", f"{day}{month}{year}"


def _split(text: str) -> tuple[Words, Words]:
    """The words of a text as they are, and cut at capitals and digits; zeros before a number do not count."""
    together = re.findall(r"[^\W_]+", words.plain(text))
    apart = [part for word in words.header_words(text) for part in re.findall(r"\d+|\D+", word)]
    return tuple(map(columns.key, together)), tuple(map(columns.key, apart))


def _is_long(text: str) -> bool:
    """Whether a text can be told from others: three characters, or two that are not Latin."""
    return len(text) >= _SHORTEST - (not text.isascii())


class _Runs:
    """Texts to be found in others as runs of words."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.runs: tuple[set[Words], set[Words]] = set(), set()  # by the ways of `_split`
        for text in texts:
            ways = set(_split(text)) - {()}
            self.runs[0].update(ways)
            self.runs[1].update(ways if _is_long(text) else ())  # `3` is not in `IM003`
        self.lengths: dict[str, set[int]] = {}
        for run in self.runs[0]:
            self.lengths.setdefault(run[0], set()).add(len(run))

    def are_in(self, ways: tuple[Words, Words]) -> bool:
        """Whether one of the runs is in the words of a text, split in one of the ways of `_split`."""
        return any(
            parts[start : start + length] in runs
            for parts, runs in zip(ways, self.runs, strict=True)
            for start, word in enumerate(parts)
            for length in self.lengths.get(word, ())
        )


def naming_paths(
    paths: Iterable[str], known: Iterable[str], own: Mapping[str, Sequence[str]], inside: Mapping[str, Sequence[str]]
) -> list[str]:
    """The paths that tell who a patient is.

    Args:
        paths: The images' paths.
        known: Names and identifiers, of which any path may have none, if they are not too short to be told from others.
        own: By path, names and identifiers of its patient, of any length, which it may not have as words.
        inside: By path, texts that it may not have anywhere, not even within a word; short ones only as words.
    """
    everywhere = _Runs(text for text in known if _is_long(text))
    found = []
    for path in paths:
        ways, text = _split(path), words.plain(path)
        within = inside.get(path, ())
        if (
            everywhere.are_in(ways)
            or _Runs([*own.get(path, ()), *within]).are_in(ways)
            or any(words.plain(one) in text for one in within if _is_long(one))
        ):
            found.append(path)
    return found

"""Letters that figures can show: those of matplotlib's own font and, for what it lacks, those of any font on this machine."""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, cast

from thorax.errors import ThoraxError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

OWN = "DejaVu Sans"  # comes with matplotlib, and has Latin, Greek, Cyrillic, Arabic and Hebrew letters
_MOST_NAMED = 10  # letters in a message


def refuse_unreadable(texts: Mapping[str, str]) -> None:
    """Refuse letters that no font on this machine has: figures would show boxes. The texts are by the place where each is written."""
    for place, text in texts.items():
        _, absent = _families(frozenset(text))
        if absent:
            letters = "".join(sorted(absent)[:_MOST_NAMED])
            script = unicodedata.name(min(absent), "unnamed character").split(" ")[0]
            raise ThoraxError(
                f"{place}: no font on this machine has {letters!r} ({script}), so figures could not show it: install one that does "
                "(for example `apt-get install fonts-noto-cjk` for Chinese, Japanese and Korean, `fonts-noto-core` for other "
                "scripts; or copy a .ttf or .otf file into ~/.local/share/fonts), or write it in other letters."
            )


def cover(figure: "Figure") -> None:
    """Give every text of a figure the fonts that have its letters, if it needs others than `OWN`."""
    from matplotlib.text import Text

    for axes in figure.axes:
        if axes.axison:
            axes.get_xticklabels()  # creates them, as drawing would
            axes.get_yticklabels()
    cover_texts(cast("list[Text]", figure.findobj(Text)))


def cover_texts(texts: "Iterable[Text]") -> None:
    """Give texts the fonts that have their letters, if they need others than `OWN`."""
    for text in texts:
        families, _ = _families(frozenset(text.get_text()))
        if families:
            text.set_fontfamily([OWN, *families])


@cache
def _families(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Further fonts for the letters that `OWN` lacks, the one with most of them first, and the letters that no font has."""
    absent = frozenset(letter for letter in letters if letter < " ")
    if not "".join(letters).isascii():
        absent |= letters - _own()
    absent -= {"\n"}
    families: list[str] = []
    while absent:
        found = {name: absent & has for name, has in _others().items()}
        best = min(found, key=lambda name: (-len(found[name]), "Sans" not in name, name), default=None)
        if best is None or not found[best]:
            break
        families.append(best)
        absent -= found[best]
    return tuple(families), absent


@cache
def _own() -> frozenset[str]:
    from matplotlib import font_manager, ft2font

    return frozenset(map(chr, ft2font.FT2Font(font_manager.findfont(OWN)).get_charmap()))


@cache
def _others() -> dict[str, frozenset[str]]:
    """Letters of every font on this machine that matplotlib can draw, by family. Its own list may be out of date."""
    from matplotlib import font_manager, ft2font

    found: dict[str, frozenset[str]] = {}
    for path in sorted(font_manager.findSystemFonts()):
        try:
            font = ft2font.FT2Font(path)
            drawable = ft2font.FaceFlags.SCALABLE in font.face_flags and ft2font.FaceFlags.COLOR not in font.face_flags
            if drawable and font.family_name not in found:
                font_manager.fontManager.addfont(path)
                found[font.family_name] = frozenset(map(chr, font.get_charmap()))
        except (RuntimeError, OSError):  # not a font, or in a format that matplotlib does not read
            continue
    found.pop(OWN, None)
    return found

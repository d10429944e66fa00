"""Text that matplotlib can draw: fonts that have the glyphs, widths, wrapping and shortening."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import TextToPath

from resid_widgets.tokens import escape

# DejaVu ships with matplotlib. The rest are used where installed, for scripts that DejaVu lacks; colour-emoji fonts
# are not among them, since matplotlib cannot draw their bitmaps.
_FALLBACKS = (
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Noto Sans Hebrew",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Telugu",
    "Noto Sans Thai",
    "Noto Sans Georgian",
    "Noto Sans Armenian",
    "Noto Sans Ethiopic",
    "Noto Sans Symbols",
    "Noto Sans Symbols2",
    "Noto Sans Math",
    "Noto Emoji",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Segoe UI Symbol",
    "WenQuanYi Micro Hei",
)
_BUNDLED = {"mono": ("DejaVu Sans Mono", "DejaVu Sans"), "sans": ("DejaVu Sans",), "bold": ("DejaVu Sans",)}


@lru_cache
def families(kind: str) -> tuple[str, ...]:
    """Return the installed font families to try in order, for ``"mono"``, ``"sans"`` or ``"bold"`` text."""
    if kind == "bold":  # few of the others have a bold cut
        return _BUNDLED[kind]
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return _BUNDLED[kind] + tuple(name for name in _FALLBACKS if name in installed)


@lru_cache
def _glyphs(kind: str) -> dict[int, str]:
    """Return the first family that draws it, for every code point that one of them can draw."""
    found: dict[int, str] = {}
    for name in reversed(families(kind)):
        path = font_manager.findfont(FontProperties(family=name, weight=_weight(kind)))
        found.update(dict.fromkeys(FT2Font(path).get_charmap(), name))
    return found


def _weight(kind: str) -> str:
    return "bold" if kind == "bold" else "normal"


def drawable(text: str, kind: str = "sans") -> str:
    """Return `text` with the characters that no available font of `kind` can draw as ``⟨U+4E2D⟩``."""
    return "".join(char if ord(char) in _glyphs(kind) else escape(char) for char in text)


def font(kind: str, size: float, text: str = "") -> FontProperties:
    """Return the ``"mono"``, ``"sans"`` or ``"bold"`` font of `size` points for drawable `text`.

    It names only the families that `text` needs: matplotlib looks up every one of them for each text.
    """
    needed = {_glyphs(kind)[ord(char)] for char in text} | {_BUNDLED[kind][0]}
    return _properties(kind, size, tuple(name for name in families(kind) if name in needed))


@lru_cache
def _properties(kind: str, size: float, names: tuple[str, ...]) -> FontProperties:
    return FontProperties(family=list(names), size=size, weight=_weight(kind))


def width(text: str, kind: str, size: float) -> float:
    """Return how wide drawable `text` is, in points."""
    return float(_measure().get_text_width_height_descent(text, font(kind, size, text), ismath=False)[0])


@lru_cache
def _measure() -> TextToPath:
    """Return matplotlib's measure of text, which needs no canvas."""
    return TextToPath()


def columns(text: str) -> int:
    """Return how many columns of monospaced text `text` takes: wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shorten(text: str, room: int) -> str:
    """Return `text`, or as much of its start as fits `room` columns with an ellipsis."""
    if columns(text) <= room:
        return text
    kept = ""
    for char in text:
        if columns(kept + char) > room - 1:
            break
        kept += char
    return kept + "…"


def wrap(text: str, kind: str, size: float, room: float) -> list[str]:
    """Break drawable `text` into lines of at most `room` points: at spaces, and inside a word that is wider."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, kind, size) <= room:
            lines[-1] = longer
            continue
        lines.append("")
        for char in word:
            # Hinted glyphs may be wider than measured; over words that evens out, within one it need not.
            if lines[-1] and width(lines[-1] + char, kind, size) > 0.9 * room:
                lines.append("")
            lines[-1] += char
    return lines


def flow(widths: Sequence[float], gap: float, room: float) -> list[list[int]]:
    """Set items of the given widths in rows of at most `room` points, `gap` apart; return the rows of their indices."""
    rows: list[list[int]] = []
    used = 0.0
    for index, item in enumerate(widths):
        if rows and used + gap + item <= room:
            rows[-1].append(index)
            used += gap + item
        else:
            rows.append([index])
            used = item
    return rows

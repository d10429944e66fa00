"""Token text made visible: whitespace, controls and broken bytes become marks that a reader can see."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

EMPTY = "⟨empty⟩"
MARKS = {" ": "·", "\n": "↵", "\t": "⇥"}

# Letters and symbols that Unicode calls printable and that draw nothing, or only change their neighbours:
# Default_Ignorable_Code_Point (DerivedCoreProperties.txt) and the blank braille pattern.
_INVISIBLE = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# The marks themselves: escaped where they occur in a text, so that two texts never look the same.
_OWN_MARKS = frozenset("·↵⇥⟨⟩◌\ufffd")
_BYTE_PIECE = re.compile(r"(<0x[0-9A-Fa-f]{2}>)+")


@lru_cache(maxsize=100_000)  # a picture asks for the same few at every click
def visible(text: str) -> str:
    r"""Return `text` with everything that a reader could not see turned into something that they can.

    A space is ``·``, a newline ``↵``, a tab ``⇥``. Control, bidirectional, zero-width, unassigned and
    other blank characters, and the marks used here, become ``⟨U+200B⟩``. A byte that is no character becomes
    ``⟨0xE2⟩``: texts that are only ``<0xE2>`` pieces (SentencePiece's spelling), and Python's surrogate-escaped bytes
    (``bytes.decode("utf-8", "surrogateescape")``). A combining mark with nothing before it sits on ``◌``.
    The empty text is ``⟨empty⟩``. Anything else, HTML included, stays the text that it is.

    Different texts look different; only a byte's two spellings agree.

    Parameters
    ----------
    text
        Decoded text of a token.

    Returns
    -------
    str
        Never empty, one line, drawable left to right.
    """
    if not text:
        return EMPTY
    if _BYTE_PIECE.fullmatch(text):
        return re.sub(r"<0x(..)>", lambda byte: f"⟨0x{byte[1].upper()}⟩", text)
    out: list[str] = []
    for char in text:
        bare = not out or out[-1][-1] in _OWN_MARKS
        shown = _shown(char)
        out.append(
            f"◌{shown}" if bare and shown == char and unicodedata.category(char) in ("Mn", "Me", "Mc") else shown
        )
    return "".join(out)


def escape(char: str) -> str:
    """Return the code point of one character, e.g. ``⟨U+200B⟩``."""
    return f"⟨U+{ord(char):04X}⟩"


def _shown(char: str) -> str:
    """Return one character as `visible` shows it."""
    if char in MARKS:
        return MARKS[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a surrogate-escaped byte
        return f"⟨0x{code - 0xDC00:02X}⟩"
    if char in _OWN_MARKS or unicodedata.category(char) in _ESCAPED_CATEGORIES:
        return escape(char)
    if any(low <= code <= high for low, high in _INVISIBLE):
        return escape(char)
    return char

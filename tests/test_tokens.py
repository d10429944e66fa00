"""Token text is always visible, on one line, and different texts stay different."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resid_widgets.tokens import EMPTY, escape, visible

# Any text at all: surrogates, controls, private use and unassigned code points included.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e\ufe0f\U000e0001\U000e0100"
BLANK = "\u00a0\u2003\u3000\u2028\u2029\u115f\u3164\uffa0\u2800\x00\x1b\x7f\x85\r\v\f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Mary", "·Mary"),
        ("\n", "↵"),
        ("\t\t", "⇥⇥"),
        ("\r\n", "⟨U+000D⟩↵"),
        ("", EMPTY),
        ("\u200b", "⟨U+200B⟩"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\"'`&amp;", "\"'`&amp;"),
        ("$x^2$ \\frac", "$x^2$·\\frac"),
        (" שלום", "·שלום"),
        ("👨\u200d👩", "👨⟨U+200D⟩👩"),
        ("<0xE2>", "⟨0xE2⟩"),
        ("<0xe2><0x80>", "⟨0xE2⟩⟨0x80⟩"),
        ("a<0xE2>", "a<0xE2>"),
        (b"\xe2\x80".decode("utf-8", "surrogateescape"), "⟨0xE2⟩⟨0x80⟩"),
        ("\ufffd", "⟨U+FFFD⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("e\u0301", "e\u0301"),
        ("\u0301", "◌\u0301"),
        (" \u0301", "·◌\u0301"),
        ("·", "⟨U+00B7⟩"),
        ("⟨U+200B⟩", "⟨U+27E8⟩U+200B⟨U+27E9⟩"),
        ("中文", "中文"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("char", [*BIDI, *ZERO_WIDTH, *BLANK], ids=lambda char: f"U+{ord(char):04X}")
def test_what_cannot_be_seen_is_spelled_out(char: str) -> None:
    expected = {"\n": "↵", "\t": "⇥"}.get(char, escape(char))
    assert visible(f"a{char}b") == f"a{expected}b"


@given(ANY_TEXT)
@example(BIDI + ZERO_WIDTH + BLANK)
def test_nothing_invisible_ever_comes_out(text: str) -> None:
    shown = visible(text)
    assert shown
    assert shown == visible(text)
    assert shown.isprintable()  # no control, separator, surrogate, private or unassigned character
    assert not set(shown) & set(" " + BIDI + ZERO_WIDTH + BLANK)
    assert len(shown.splitlines()) == 1
    assert not unicodedata.category(shown[0]).startswith("M")
    shown.encode("utf-8")  # can be sent and saved


@given(ANY_TEXT, ANY_TEXT)
@example("·", " ")
@example("◌\u0301", "\u0301")
@example("⟨empty⟩", "")
@example("\n", "↵")
def test_different_texts_look_different(a: str, b: str) -> None:
    assert (visible(a) == visible(b)) == (a == b)

"""Which positions a piece of the prompt covers."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.models.runs.run import Run
from resid_widgets.whole import several_whole


def span_of(run: Run, subject: Any, name: str = "subject") -> tuple[int, int]:
    """Return the first position of a span and the one after its last.

    Parameters
    ----------
    subject
        Text that stands once in the prompt, or ``(lo, hi)``: negative counts from the end, `hi` is not included.

    Raises
    ------
    InputError
        If the text is not there or there more than once, or the positions are none of the prompt.
    """
    if isinstance(subject, str):
        return _of_text(run, subject, name)
    items = several_whole(subject) or ()
    if len(items) != 2:
        rule = "a text or two positions are needed"
        raise InputError.about(name, subject, rule, f'For example {name}=(1, 3), or {name}="Mary".')
    lo, hi = (i + run.n_pos if i < 0 else i for i in items)
    if not 0 <= lo < hi <= run.n_pos:
        rule = f"the prompt has positions 0 .. {run.n_pos - 1}, and the first must be below the end"
        raise InputError.about(name, subject, rule, "Give (first, one after the last).")
    return lo, hi


def _of_text(run: Run, text: str, name: str) -> tuple[int, int]:
    wanted, whole = text.strip(), "".join(run.tokens)
    count = whole.count(wanted) if wanted else 0
    if count != 1:
        rule = "it is not in the prompt's tokens" if count == 0 else f"it is in the prompt {count} times"
        raise InputError.about(name, text, rule, f"Give positions instead, {name}=(lo, hi): tokens {run.tokens}.")
    begin = whole.index(wanted)
    end = begin + len(wanted)
    stops = list(accumulate(map(len, run.tokens)))
    touched = [
        pos for pos, stop in enumerate(stops) if stop > begin and stop - len(run.tokens[pos]) < end and run.tokens[pos]
    ]
    return touched[0], touched[-1] + 1

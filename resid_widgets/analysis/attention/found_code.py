"""Scores of heads as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.analysis.code import boot_code
from resid_widgets.models.runs.run import Run

_MASKS = """\
earlier = (tokens[0, :, None] == tokens[0, None, :]).tril(-1)  # earlier positions of the same token
after = torch.zeros_like(earlier)
after[:, 1:] = earlier[:, :-1]
places = {
    "previous_token": torch.ones_like(earlier).tril(-1).triu(-1),
    "duplicate_token": earlier,
    "induction": after.tril(-1),  # what came after them
}
"""


def found_code(run: Run, kinds: Sequence[str], layers: Sequence[int]) -> str:
    """Return a script that makes ``values`` of one prompt: mean attention to the places that each kind means."""
    names = [run.model.hook_name("pattern", layer) for layer in layers]
    return "\n".join(
        [
            "# The scores of the first prompt.",
            boot_code(run),
            f"names = {names}",
            "with torch.no_grad():",
            "    _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name in names)",
            "",
            _MASKS,
            "def score(pattern, where):  # over the rows that have such a place",
            "    return (pattern.double() * where).sum(-1)[:, where.any(-1)].mean(-1)",
            "",
            f"found = [[score(cache[name][0], places[kind]) for name in names] for kind in {list(kinds)}]",
            "pad = torch.nn.utils.rnn.pad_sequence",
            "values = torch.stack([pad(of, batch_first=True, padding_value=torch.nan) for of in found])",
            "",
        ]
    )

"""The scores of all heads as a script, with TransformerLens and PyTorch alone."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.analysis.code import boot_code
from resid_widgets.models.runs.run import Run

_SCORES = """
earlier = (tokens[0, :, None] == tokens[0, None, :]).tril(-1)  # earlier positions of the same token
after = torch.zeros_like(earlier)
after[:, 1:] = earlier[:, :-1]
after = after.tril(-1)  # what came after them


def mean_on(p, where):
    rows = where.any(-1)
    return (p * where).sum(-1)[:, rows].mean(-1)


def look(pattern, layer):
    p = pattern[0].float()  # [head, pos, key_pos]
    scores = {
        "induction": mean_on(p, after),
        "previous_token": p.diagonal(-1, dim1=1, dim2=2).mean(-1),
        "duplicate_token": mean_on(p, earlier),
        "first_token": p[:, 1:, 0].mean(-1),
        "entropy": -torch.xlogy(p, p)[:, 1:].sum(-1).mean(-1),  # nats
    }
    for name, values in scores.items():
        print(layer, name, [round(v, 4) for v in values.tolist()])

"""


def overview_code(run: Run, layers: Sequence[int]) -> str:
    """Return the script; of an intervened run it is that of the run without, and says so."""
    names = [run.model.hook_name("pattern", layer) for layer in layers]
    note = "" if run.base is None else f"# without the interventions: {', '.join(map(str, run.interventions))}\n"
    hooks = f"hooks = [(name, lambda p, hook, n=n: look(p, n)) for n, name in zip({list(layers)}, {names})]\n"
    passes = "with torch.no_grad():\n    bridge.run_with_hooks(tokens, fwd_hooks=hooks)\n"
    return f"{note}{boot_code(run)}\n{_SCORES}\n{hooks}{passes}"

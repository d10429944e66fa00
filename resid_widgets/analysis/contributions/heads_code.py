"""Head contributions as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.contributions.code import FROZEN, MODULES, sublayers_code
from resid_widgets.analysis.contributions.sublayer import POST_NORMS, Sublayer
from resid_widgets.models.runs.run import Run

_VALUES = """\
values = []
for layer, (path, factor, post, shape) in how.items():
    z, project = cache[f'blocks.{layer}.attn.hook_z'][0].reshape(-1, *shape), modules[path]
    heads = []
    with torch.no_grad():
        bias = project(torch.zeros_like(z).flatten(1)[None])[0]
        whole = project(z.flatten(1)[None])[0].double()
        for head in range(z.shape[1]):
            alone = torch.zeros_like(z)
            alone[:, head] = z[:, head]
            part = (project(alone.flatten(1)[None])[0] - bias).double()
            if post is not None:  # it is written through a norm
                norm = bridge.blocks[layer].POST
                gains = torch.stack([frozen(norm, row, post)[0] for row in whole])
                part = gains * (part - part.mean(-1, keepdim=True) if post else part)
            heads.append((factor * part).norm(dim=-1))
    values.append(torch.stack(heads))
values = torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=torch.nan)  # [layer, head, pos]
"""


def heads_code(run: Run, opened: Mapping[int, Sublayer], effects: str) -> str:
    """Return a script that makes ``values``, and say where the effects come from.

    Parameters
    ----------
    opened
        How each layer's attention writes.
    effects
        A comment.
    """
    if run.base is not None:
        return "# Of an intervened run: run it first with rw.intervene(run, ...), then ask the same of that.\n"
    if run.model.d_model % 2:
        return "# The script takes a norm's weights from vectors of mean 0 and one size, which need an even d_model.\n"
    return "\n".join(
        [
            boot_code(run),
            "dtype = next(bridge.parameters()).dtype",
            "with torch.no_grad():",
            "    _, cache = bridge.run_with_cache(tokens)",
            "",
            FROZEN,
            MODULES,
            f"how = {sublayers_code(run.model, 'attn_out', opened)}",
            _VALUES.replace("POST", POST_NORMS["attn_out"]),
            *([effects, ""] if effects else []),
        ]
    )

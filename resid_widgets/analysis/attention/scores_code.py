"""A split score as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

from resid_widgets.analysis.attention.score_form import ScoreForm
from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.contributions.code import FROZEN, MODULES, sublayers_code
from resid_widgets.analysis.contributions.parts import writers_before
from resid_widgets.analysis.contributions.sublayer import POST_NORMS, Sublayer
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import Site

_DERIVED = """\
seen = {}

def cut(value, hook, name):  # the graph begins here
    seen[name] = value.detach().clone().requires_grad_()
    return seen[name]

def look(value, hook, name):
    seen[name] = value.clone()
    return seen[name]

at = f"blocks.{layer}.attn."
cuts, looks = (at + "q.hook_in", at + "k.hook_in"), (at + "hook_q", at + "hook_k", at + "hook_attn_scores")
hooks = [(name, functools.partial(cut if name in cuts else look, name=name)) for name in (*cuts, *looks)]
bridge.run_with_hooks(tokens, fwd_hooks=hooks)
queries, keys, row = seen[at + "hook_q"], seen[at + "hook_k"], seen[at + "hook_attn_scores"][0, head, q]
"""
_BETWEEN = """\
by_q, by_k = torch.autograd.grad(score, (queries, keys), create_graph=True)
mixed = [torch.autograd.grad(x, queries, retain_graph=True)[0][0, q, head] for x in by_k[0, k, key_head]]
between = torch.stack(mixed, dim=1).double()  # query . between . key is the score, where nothing is normed
"""
_NORMED = """\
# Queries and keys are normed. A norm's derivative is I - c x x^T, which is taken back: the norms are held.
S, x, y = float(score.detach()), queries[0, q].detach().double(), keys[0, k].detach().double()
gx, gy = by_q[0, q].detach().double(), by_k[0, k].detach().double()
inside = [g.any(dim=-1) for g in (gx, gy)]  # the heads that a norm runs over
a, b = ((1 - (v[i] * g[i]).sum() / S) / v[i].square().sum() for v, g, i in ((x, gx, inside[0]), (y, gy, inside[1])))
x, y, gx, gy = x[head], y[key_head], gx[head], gy[key_head]
held_x, held_y = gx + a * S * x, gy + b * S * y
between = between + a * torch.outer(x, held_y) + b * torch.outer(held_x, y) - a * b * S * torch.outer(x, y)
"""
_SIDE = """\
def side(vectors, given, pos, of, biased):
    read = [torch.autograd.grad(x, given, retain_graph=True)[0][0, pos] for x in vectors[0, pos, of]]
    vector, read = vectors[0, pos, of].detach().double(), torch.stack(read).double()
    given = given[0, pos].detach().double()
    stream = cache[f"blocks.{layer}.hook_resid_pre"][0, pos].double()
    written = parts(pos)
    gain, bias = torch.ones_like(stream), torch.zeros_like(stream)
    if centred is not None:  # the norm before attention
        gain, bias = frozen(bridge.blocks[layer].ln1, stream, centred)
    if centred:
        written = written - written.mean(-1, keepdim=True)
    rows = (gain * written) @ read.T
    return torch.cat([rows, (vector - read @ (given - bias))[None]]) if biased else rows

query = side(queries, seen[at + "q.hook_in"], q, head, BIAS_Q)
key = side(keys, seen[at + "k.hook_in"], k, key_head, BIAS_K)
values = query @ between @ key.T
"""
_HEADS = """\
def heads(at_layer, pos):
    path, factor, post, shape = how[at_layer]
    z, project = cache[f"blocks.{at_layer}.attn.hook_z"][0, pos].reshape(shape), modules[path]
    with torch.no_grad():
        nothing = project(torch.zeros_like(z).flatten()[None, None])[0, 0]
        whole = project(z.flatten()[None, None])[0, 0]
        found = []
        for number in range(len(z)):
            alone = torch.zeros_like(z)
            alone[number] = z[number]
            found.append((project(alone.flatten()[None, None])[0, 0] - nothing).double())
    found = torch.stack(found)
    if post is not None:  # it is written through a norm
        gain, _ = frozen(bridge.blocks[at_layer].POST, whole.double(), post)
        found = gain * (found - found.mean(-1, keepdim=True) if post else found)
    return factor * found
"""


def scores_code(
    run: Run,
    place: tuple[int, int, int, int],
    form: ScoreForm,
    centred: bool | None,
    biased: tuple[bool, ...],
    opened: Mapping[int, Sublayer],
    biases: frozenset[int],
) -> str:
    """Return a script that makes ``values``.

    Parameters
    ----------
    place
        Layer, head, and the positions of query and key.
    centred
        Whether the norm before attention takes off the mean; None where there is no such norm.
    biased
        Whether query and key have a row of biases.
    opened
        How attention writes, by layer, where it is split into heads; and in which of these layers it has a bias.
    """
    layer, head, q, k = place
    if run.base is not None:
        return "# Of an intervened run: run it first with rw.intervene(run, ...), then ask the same of that.\n"
    if run.model.d_model % 2:
        return "# The script takes a norm's weights from vectors of mean 0 and one size, which need an even d_model.\n"
    score = "row[k]"
    if form.score is None:  # what is shown is behind the softmax: a difference of scores has the same derivatives
        score = "row[k].log() - row[[n for n in row.argsort(descending=True).tolist() if n != k][0]].log()"
    elif form.cap is not None:
        score = f"{form.cap} * torch.atanh((row[k] / {form.cap}).double())"
    writers = writers_before(run.model, Site("resid_pre", layer))
    names = [run.model.hook_name(*of) for of in [("resid_pre", 0), *writers]]
    side = _SIDE.replace("BIAS_Q", str(biased[0])).replace("BIAS_K", str(biased[1]))
    return "\n".join(
        [
            "import functools",
            boot_code(run),
            "dtype = next(bridge.parameters()).dtype",
            f"layer, head, q, k, key_head, centred = {layer}, {head}, {q}, {k}, {form.key_head}, {centred}",
            "with torch.no_grad():",
            "    _, cache = bridge.run_with_cache(tokens)",
            "",
            FROZEN,
            *(_by_head(run, opened, biases) if opened else []),
            "def parts(pos):",
            f"    names = {names}",
            *(
                ["    return torch.cat([split(name, pos) for name in names])"]
                if opened
                else ["    return torch.stack([cache[name][0, pos].double() for name in names])"]
            ),
            "",
            _DERIVED,
            f"score = {score}",
            _BETWEEN,
            *([_NORMED] if form.normed else []),
            side,
        ]
    )


def _by_head(run: Run, opened: Mapping[int, Sublayer], biases: frozenset[int]) -> list[str]:
    """Return the lines that split attention into heads."""
    return [
        MODULES,
        f"how = {sublayers_code(run.model, 'attn_out', opened)}",
        f"biased_layers = {sorted(biases)}",
        _HEADS.replace("POST", POST_NORMS["attn_out"]),
        "def split(name, pos):",
        "    whole, at_layer = cache[name][0, pos].double()[None], int(name.split('.')[1])",
        "    if not name.endswith('hook_attn_out') or at_layer not in how:",
        "        return whole",
        "    found = heads(at_layer, pos)",
        "    bias = whole - found.sum(0, keepdim=True)",
        "    return torch.cat([found, bias]) if at_layer in biased_layers else found",
        "",
    ]

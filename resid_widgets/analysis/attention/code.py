"""Attention as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from resid_widgets.analysis.attention.arguments import Asked
from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.contributions.code import FROZEN, MODULES
from resid_widgets.analysis.contributions.sublayer import POST_NORMS, Sublayer
from resid_widgets.analysis.sweeps.sweep_code import metric_code

_EDITED = "# Of an intervened run: run it first with rw.intervene(run, ...), then ask the same of that.\n"
_CACHE = ["with torch.no_grad():", "    base_logits, cache = bridge.run_with_cache(tokens)", ""]


def attention_code(asked: Asked, written: Sublayer | None = None) -> str:
    """Return a script that makes ``values``; of an intervened run, a comment.

    Parameters
    ----------
    written
        How the layer's attention writes, for ``"value_weighted"``.
    """
    run = asked.run
    if run.base is not None:
        return _EDITED
    name = run.model.hook_name("pattern", asked.layer)
    lines = [boot_code(run), f"heads = {list(asked.heads)}", f"name = {name!r}", *_CACHE]
    if asked.reading is not None:
        measure = metric_code(asked.reading)
        if asked.kind in ("gradient", "integrated"):
            measure = [line.replace("return float(", "return (") for line in measure]
        lines += measure
    lines += _LINES[asked.kind](asked, written)
    if asked.one:
        lines.append("values = values[0]")
    return "\n".join([*lines, ""])


def _pattern(asked: Asked, _: Sublayer | None) -> list[str]:
    return ["values = cache[name][0, heads]"]


def _rollout(asked: Asked, _: Sublayer | None) -> list[str]:
    every = asked.run.model.hook_name("pattern", 0).replace(".0.", ".{layer}.")
    return [
        f"own = values = torch.eye(tokens.shape[1], dtype=torch.float64, device={asked.run.provenance.device!r})",
        f"for layer in range({asked.layer + 1}):",
        f"    values = (0.5 * cache[f'{every}'][0].double().mean(0) + 0.5 * own) @ values",
    ]


def _weighted(asked: Asked, written: Sublayer | None) -> list[str]:
    assert written is not None, "what is weighted is written"
    model, layer = asked.run.model, asked.layer
    z, v = (model.hook_name(component, layer) for component in ("z", "v"))
    lines = [
        MODULES,
        f"project = modules[{written.path!r}]",
        f"n_heads, z = cache[name].shape[1], cache[{z!r}][0].flatten(1)",
        "with torch.no_grad():",
        "    columns = project(torch.eye(z.shape[1]).to(z)[None])[0] - project(torch.zeros_like(z[:1])[None])[0]",
        "    projected = project(z[None])[0]",
        "columns = columns.double().unflatten(0, (n_heads, -1))  # [head, d_head, d_model]",
        f"v = cache[{v!r}].reshape(z.shape[0], -1, columns.shape[1]).double()",
        "v = v.repeat_interleave(n_heads // v.shape[1], dim=1)",
        "moved = torch.einsum('khd,hdm->hkm', v, columns)",
    ]
    if written.norm is None:
        sizes = "moved.norm(dim=-1)[:, None]"
    else:
        norm = f"bridge.blocks[{layer}].{POST_NORMS['attn_out']}"
        lines += [
            "dtype = z.dtype",
            FROZEN,
            f"gain = torch.stack([frozen({norm}, x.double(), {written.norm.centred})[0] for x in projected])",
            *(["moved = moved - moved.mean(-1, keepdim=True)"] if written.norm.centred else []),
        ]
        sizes = "(gain.square() @ moved.square().transpose(1, 2)).sqrt()"
    return [*lines, f"values = ({abs(written.factor)!r} * cache[name][0].double() * {sizes})[heads]"]


_GRADIENT = [
    "def gradient_at(alpha):",
    "    pattern = (alpha * cache[name]).detach().requires_grad_()",
    "    with torch.enable_grad():",
    "        number = metric(bridge.run_with_hooks(tokens, fwd_hooks=[(name, lambda value, hook: pattern)]))",
    "    return torch.autograd.grad(number, pattern)[0][0].double()",
    "",
    "pattern = cache[name][0].double()",
]


def _gradient(asked: Asked, _: Sublayer | None) -> list[str]:
    return [*_GRADIENT, "values = (pattern * gradient_at(1.0))[heads]"]


def _integrated(asked: Asked, _: Sublayer | None) -> list[str]:
    return [
        "import numpy",
        *_GRADIENT,
        f"points, weights = numpy.polynomial.legendre.leggauss({asked.steps})",
        "steps = [0.5 * float(w) * gradient_at(0.5 * (float(p) + 1)) for p, w in zip(points, weights)]",
        "values = (pattern * sum(steps))[heads]",
    ]


def _knockout(asked: Asked, _: Sublayer | None) -> list[str]:
    return [
        "pattern = cache[name][0]",
        "values = torch.full((len(heads), *pattern.shape[1:]), float('nan'), dtype=torch.float64)",
        f"for query in {list(asked.queries)}:",
        "    for n, head in enumerate(heads):",
        "        for key in range(pattern.shape[2]):",
        "            if pattern[head, query, key] == 0:",
        "                values[n, query, key] = 0",
        "                continue",
        "",
        "            def hook(value, hook):",
        "                new = value.clone()",
        "                row = new[0, head, query].double()",
        *(
            [
                "                left = (torch.arange(len(row)).to(row.device) != key) * row",
                "                sink = 1 - row.sum() if row.sum() < 0.9999 else 0  # what goes to no token",
                "                new[0, head, query] = left / (left.sum() + sink)",
            ]
            if asked.renormalise
            else ["                new[0, head, query, key] = 0"]
        ),
        "                return new",
        "",
        "            with torch.no_grad():",
        "                logits = bridge.run_with_hooks(tokens, fwd_hooks=[(name, hook)])",
        "            values[n, query, key] = metric(logits) - metric(base_logits)",
    ]


_LINES = {
    "pattern": _pattern,
    "rollout": _rollout,
    "value_weighted": _weighted,
    "gradient": _gradient,
    "integrated": _integrated,
    "knockout": _knockout,
    "change": _pattern,
}

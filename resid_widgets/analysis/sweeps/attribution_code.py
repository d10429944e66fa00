"""Attribution patching as a script: the same estimates from plain TransformerLens and PyTorch."""

from __future__ import annotations

from resid_widgets.analysis.code import CACHED, boot_code, hook_of, tokens_literal
from resid_widgets.analysis.metrics import Reading
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.analysis.sweeps.sweep_code import metric_code
from resid_widgets.models.runs.run import Run


def attribution_code(base: Run, source: Run, reading: Reading, cells: Cells, clean: float, corrupt: float) -> str:
    """Return a script that makes ``values`` of an attribution sweep (of the first pair): estimates."""
    middle = cells.component == "resid_mid"
    hook = hook_of(base, cells.component, 0).replace(".0.", ".{layer}.")
    inner = {"pattern": "change[0, {head}, {pos}]"}.get(cells.component, "change[0, {pos}, {head}]")
    names = dict.fromkeys(("pos", "head"), ":") | {
        {"kv_head": "head", "neuron": "head"}.get(dim, dim): dim for dim in cells.dims[1:]
    }
    loops = [f"{dim}s = {list(of)}" for dim, of in zip(cells.dims, cells.coords, strict=True)]
    targets = ", ".join(f"({'ijk'[n]}, {dim})" for n, dim in enumerate(cells.dims))
    product = ", ".join(f"enumerate({dim}s)" for dim in cells.dims)
    entering = [
        "    entering = f'blocks.{layer}.hook_resid_pre'  # the stream between attention and MLP has this as well",
        "    change = change + source[entering].double() - base[entering].double()",
    ]
    return "\n".join(
        [
            "import functools",
            "import itertools",
            boot_code(base),
            f"source_tokens = {tokens_literal(source)}",
            "",
            *CACHED,
            *(line.replace("return float(", "return (") for line in metric_code(reading)),
            *loops,
            "base_logits, base = cached(tokens)",
            "_, source = cached(source_tokens)",
            "zeros = {}",
            "def probe(value, hook, layer):  # its gradient is that of the value",
            "    zeros[layer] = torch.zeros_like(value, requires_grad=True)",
            "    return value + zeros[layer]",
            f"names = {{layer: f{hook!r} for layer in layers}}",
            "probes = [(name, functools.partial(probe, layer=layer)) for layer, name in names.items()]",
            "metric(bridge.run_with_hooks(tokens, fwd_hooks=probes)).backward()",
            f"raw = torch.zeros({', '.join(f'len({dim}s)' for dim in cells.dims)}).double() + metric(base_logits)",
            f"for {targets} in itertools.product({product}):",
            "    change = source[names[layer]].double() - base[names[layer]].double()",
            *(entering if middle else []),
            "    change = change * zeros[layer].grad.double()",
            f"    raw[{', '.join('ijk'[: len(cells.dims)])}] += {inner.format(**names)}.sum()",
            f"values = (raw - {corrupt!r}) / ({clean!r} - {corrupt!r})",
            "",
        ]
    )

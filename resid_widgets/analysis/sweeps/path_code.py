"""Path patching as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.analysis.code import CACHED, boot_code, hook_of, tokens_literal
from resid_widgets.analysis.metrics import Reading
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.analysis.sweeps.sweep_code import metric_code
from resid_widgets.models.runs.run import Run
from resid_widgets.models.structure import structure_of
from resid_widgets.sites import Site

_MLP = ("mlp_post", "mlp_out")


def path_code(
    base: Run,
    source: Run,
    reading: Reading,
    cells: Cells,
    one: Site | None,
    receivers: Sequence[Site | str],
    scale: tuple[float, float],
) -> str:
    """Return a script that makes ``values`` of the first pair.

    Parameters
    ----------
    one
        The sender, if it is one and no sweep.
    scale
        The metric of the clean and of the corrupt run.
    """
    parallel = structure_of(base.model).parallel
    clean, corrupt = scale
    n_layers = base.model.n_layers
    within = 2 if parallel else 1
    place = {"resid_pre": 0, "z": within, "attn_out": within, "resid_mid": 1, "mlp_out": 2, "resid_post": 2}
    targets = []
    for item in receivers:
        if isinstance(item, str):
            continue
        reads = 1 if item.component in _MLP and not parallel else 0
        # TransformerLens' hook_resid_mid is only what the MLP reads: here that is what is wanted.
        enters = base.model.hook_name("resid_mid" if reads else "resid_pre", item.layer)
        name, index = base.model.hook_name(item.component, item.layer), _index(item)
        targets.append(f"(({item.layer}, {reads}), {enters!r}, {name!r}, at{index})")
    logits = (
        [f"    hooks = [{_add(base.model.hook_name('resid_post', n_layers - 1))}]"] if "logits" in receivers else []
    )
    return "\n".join(
        [
            "import itertools",
            "import numpy",
            boot_code(base),
            f"source_tokens = {tokens_literal(source)}",
            "at = numpy.s_",
            "",
            *CACHED,
            *metric_code(reading),
            "base_logits, base = cached(tokens)",
            "_, source = cached(source_tokens)",
            "",
            "def run(hooks):",
            "    with torch.no_grad():",
            "        return bridge.run_with_hooks(tokens, fwd_hooks=hooks)",
            "",
            *_sender(base, cells.component),
            "# of each receiver: where it reads the stream, what it reads, what it gives, and which part of that",
            f"receivers = [{', '.join(targets)}]",
            "",
            "def patched(layer, index):",
            "    change = stream_change(layer, index)",
            *(logits or ["    hooks = []"]),
            "    for place, enters, name, part in receivers:",
            f"        if (layer, {place[cells.component]}) > place:",
            "            continue  # it reads the stream before the sender writes",
            "        kept = {}",
            "        keep = lambda value, hook: kept.update(value=value)",
            "        run([(enters, lambda value, hook: value + change), (name, keep)])",
            "        def put(value, hook, part=part, new=kept['value']):",
            "            value = value.clone()",
            "            value[part] = new[part]",
            "            return value",
            "        hooks.append((name, put))",
            "    return metric(run(hooks))",
            "",
            *_loops(cells, one),
            f"values = (raw - {corrupt!r}) / ({clean!r} - {corrupt!r})",
            "",
        ]
    )


def _add(name: str) -> str:
    return f"({name!r}, lambda value, hook: value + change)"


def _index(site: Site) -> str:
    pos = ":" if site.pos is None else f"{site.pos}"
    inner = site.neuron if site.head is None else site.head
    return f"[:, {pos}]" if inner is None else f"[:, {pos}, {inner}]"


def _sender(base: Run, component: str) -> list[str]:
    """Return a function that gives what a sender's other value adds to the stream."""
    name = hook_of(base, component, 0).replace(".0.", ".{layer}.")
    if component == "z":
        writes = base.model.hook_name("attn_out", 0).replace(".0.", ".{layer}.")
        return [
            "def stream_change(layer, index):",
            "    kept = {}",
            "    def put(value, hook):",
            "        value = value.clone()",
            f"        value[index] = source[f'{name}'][index]",
            "        return value",
            f"    run([(f'{name}', put), (f'{writes}', lambda value, hook: kept.update(value=value))])",
            f"    return kept['value'] - base[f'{writes}']",
            "",
        ]
    lines = ["def stream_change(layer, index):", f"    whole = source[f'{name}'] - base[f'{name}']"]
    if component == "resid_mid":
        entering = "blocks.{layer}.hook_resid_pre"
        lines.append(f"    whole = whole + source[f'{entering}'] - base[f'{entering}']")
    return [*lines, "    change = torch.zeros_like(whole)", "    change[index] = whole[index]", "    return change", ""]


def _loops(cells: Cells, one: Site | None) -> list[str]:
    if one is not None:
        return [f"raw = torch.tensor([[patched({one.layer}, at{_index(one)})]], dtype=torch.float64)"]
    places = {("layer", "pos"): ":, pos", ("layer", "head"): ":, :, head", ("layer", "pos", "head"): ":, pos, head"}
    sizes = ", ".join(f"len({dim}s)" for dim in cells.dims)
    targets = ", ".join(f"({'ijk'[n]}, {dim})" for n, dim in enumerate(cells.dims))
    product = ", ".join(f"enumerate({dim}s)" for dim in cells.dims)
    return [
        *(f"{dim}s = {list(of)}" for dim, of in zip(cells.dims, cells.coords, strict=True)),
        f"raw = torch.zeros({sizes}, dtype=torch.float64)",
        f"for {targets} in itertools.product({product}):",
        f"    raw[{', '.join('ijk'[: len(cells.dims)])}] = patched(layer, at[{places[cells.dims]}])",
    ]

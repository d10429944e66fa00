"""Causal methods as scripts: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.analysis.code import CACHED, boot_code, hook_of, tokens_literal
from resid_widgets.analysis.metrics import Reading
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.analysis.sweeps.sweep_code import metric_code
from resid_widgets.models.reuse.edits import unmarked
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import Site


def index_of(site: Site) -> str:
    """Return the index of a site in an activation with a batch of one."""
    pos = ":" if site.pos is None else str(site.pos)
    head = ":" if site.head is None else str(site.head)
    if site.component == "pattern":
        return f"[0, {head}, {pos}]"
    if site.component == "mlp_post":
        return f"[0, {pos}, {':' if site.neuron is None else site.neuron}]"
    return f"[0, {pos}, {head}]" if site.component in ("q", "k", "v", "z") else f"[0, {pos}]"


PATCHED = [
    "def patched(tokens, source, sites, first=()):",
    "    # `sites`: layer, hook, index, whether it is resid_mid; their values come from the cache `source`",
    "    entering, hooks = {}, list(first)",
    "    for layer, name, index, middle in sites:",
    "        if middle:  # the stream between attention and MLP is what enters the block plus what attention writes",
    "            keep = lambda value, hook, layer=layer: entering.__setitem__(layer, value)",
    "            hooks.append((f'blocks.{layer}.hook_resid_pre', keep))",
    "        def put(value, hook, layer=layer, name=name, index=index, middle=middle):",
    "            new, there = value.clone(), source[name]",
    "            if middle:",
    "                new, there = new + entering[layer], there + source[f'blocks.{layer}.hook_resid_pre']",
    "            new[index] = there[index]",
    "            return new - entering[layer] if middle else new",
    "        hooks.append((name, put))",
    "    with torch.no_grad():",
    "        return bridge.run_with_hooks(tokens, fwd_hooks=hooks)",
    "",
]


def sites_literal(run: Run, sites: Sequence[Site]) -> str:
    """Return sites as a list that ``patched`` takes; ``at`` turns an index into an object."""
    items = []
    for site in sites:
        name = hook_of(run, site.component, site.layer)
        items.append(f"({site.layer}, {name!r}, at{index_of(site)}, {site.component == 'resid_mid'})")
    return f"[{', '.join(items)}]"


def mediation_code(clean: Run, corrupt: Run, sites: Sequence[Site], reading: Reading) -> str:
    """Return a script that makes the effects of one pair."""
    return "\n".join(
        [
            boot_code(corrupt),
            "import numpy",
            "at = numpy.s_",
            f"clean_tokens = {tokens_literal(clean)}",
            "",
            *CACHED,
            *PATCHED,
            *metric_code(reading),
            f"sites = {sites_literal(corrupt, sites)}",
            "logits_1, m1 = cached(clean_tokens)",
            "logits_0, m0 = cached(tokens)",
            "y11, y00 = metric(logits_1), metric(logits_0)",
            "y10 = metric(patched(clean_tokens, m0, sites))",
            "y01 = metric(patched(tokens, m1, sites))",
            "values = {'TE': y11 - y00, 'NDE': y10 - y00, 'NIE': y01 - y00, 'TIE': y11 - y10}",
            "values['interaction'] = values['TE'] - values['NDE'] - values['NIE']",
            "",
        ]
    )


def trace_code(
    run: Run, reading: Reading, cells: Cells, subject: tuple[int, int], sigma: float, seeds: Sequence[int], window: int
) -> str:
    """Return a script that makes ``values`` of a causal trace."""
    middle = cells.component == "resid_mid"
    hook = hook_of(run, cells.component, 0).replace(".0.", ".{layer}.")
    layers, positions = (list(of) for of in cells.coords)
    return "\n".join(
        [
            boot_code(run),
            "import numpy",
            "at = numpy.s_",
            "",
            *CACHED,
            *PATCHED,
            *metric_code(reading),
            "base_logits, base = cached(tokens)",
            "embedded = base['blocks.0.hook_resid_pre']",
            f"spread = embedded[0, {unmarked(run)}].double().std(correction=0).item()",
            f"lo, hi, n_layers, window = {subject[0]}, {subject[1]}, {run.model.n_layers}, {window}",
            f"layers, positions, effects = {layers}, {positions}, []",
            f"for seed in {list(seeds)}:",
            "    noised = embedded.clone()",
            "    generator = torch.Generator().manual_seed(seed)",
            "    drawn = torch.randn(embedded.shape[1:], generator=generator, dtype=torch.float32)",
            f"    noised[0, lo:hi] += {sigma!r} * spread * drawn[lo:hi].to(noised)",
            "    noise = ('blocks.0.hook_resid_pre', lambda value, hook: noised)",
            "    with torch.no_grad():",
            "        corrupt = metric(bridge.run_with_hooks(tokens, fwd_hooks=[noise]))",
            "    restored = torch.zeros(len(layers), len(positions), dtype=torch.float64)",
            "    for i, middle in enumerate(layers):",
            "        near = range(max(0, middle - window // 2), min(n_layers, middle + (window + 1) // 2))",
            "        for j, pos in enumerate(positions):",
            f"            sites = [(layer, f{hook!r}, at[0, pos], {middle}) for layer in near]",
            "            restored[i, j] = metric(patched(tokens, base, sites, [noise]))",
            "    effects.append(restored - corrupt)",
            "values = torch.stack(effects).mean(0)",
            "",
        ]
    )


def counterfactual_code(base: Run, other: Run, component: str, places: Sequence[int | None]) -> str:
    """Return a script that makes ``values`` of one edited prompt: relative distances, NaN without counterpart."""
    name = hook_of(base, component, 0).replace(".0.", ".{layer}.")
    reads = "run[f'blocks.{layer}.hook_resid_pre'] + " if component == "resid_mid" else ""
    pairs = [(pos, place) for pos, place in enumerate(places) if place is not None]
    return "\n".join(
        [
            boot_code(base),
            f"edited_tokens = {tokens_literal(other)}",
            "",
            *CACHED,
            "_, base = cached(tokens)",
            "_, edited = cached(edited_tokens)",
            f"here, there = {[pos for pos, _ in pairs]}, {[place for _, place in pairs]}",
            f"values = torch.full(({base.model.n_layers}, {base.n_pos}), torch.nan, dtype=torch.float64)",
            f"for layer in range({base.model.n_layers}):",
            f"    old, new = (({reads}run[f'{name}'])[0].double() for run in (base, edited))",
            "    values[layer, here] = (new[there] - old[here]).norm(dim=-1) / old[here].norm(dim=-1)",
            "",
        ]
    )

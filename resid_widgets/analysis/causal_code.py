"""Causal methods as scripts: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.metrics import Reading
from resid_widgets.analysis.sweep_code import metric_code
from resid_widgets.models.run import Run
from resid_widgets.sites import Site


def hook_of(run: Run, component: str, layer: int) -> str:
    """Return where a component is written: TransformerLens' hook_resid_mid is only what the MLP reads."""
    return run.model.hook_name("attn_out" if component == "resid_mid" else component, layer)


def index_of(site: Site) -> str:
    """Return the index of a site in an activation with a batch of one."""
    pos = ":" if site.pos is None else str(site.pos)
    head = ":" if site.head is None else str(site.head)
    if site.component == "pattern":
        return f"[0, {head}, {pos}]"
    if site.component == "mlp_post":
        return f"[0, {pos}, {':' if site.neuron is None else site.neuron}]"
    return f"[0, {pos}, {head}]" if site.component in ("q", "k", "v", "z") else f"[0, {pos}]"


CACHED = [
    "def cached(tokens):",
    "    with torch.no_grad():",
    "        return bridge.run_with_cache(tokens)",
    "",
]

PATCHED = [
    "def patched(tokens, source, sites):",
    '    """Run `tokens` with the values that another run\'s cache has at `sites` (layer, hook, index, is resid_mid)."""',
    "    entering, hooks = {}, []",
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


def tokens_literal(run: Run) -> str:
    """Return a run's token ids as a tensor."""
    return f"torch.tensor([{list(run.token_ids)}], device={run.provenance.device!r})"


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

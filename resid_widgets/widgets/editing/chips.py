"""What the side panel says of an ablation: the metric, the next tokens, and a chip for each active intervention."""

from __future__ import annotations

import hashlib
from typing import Any

from resid_widgets.analysis.sweeps.ablation import Ablation
from resid_widgets.interventions import Intervention
from resid_widgets.models.runs.run import Run
from resid_widgets.tokens import visible
from resid_widgets.widgets.shell import panel

MOST_CHIPS = 24


def summary(result: Ablation, run: Run | None) -> dict[str, Any]:
    """Return the side panel: metric, next tokens, chips; `run` knows the tokens where the picture does not."""
    tokens = _visible_tokens(result, run)
    layers, positions = result.values.shape[0], len(result.provenance.token_ids)
    listed = result.interventions[:MOST_CHIPS]
    chips = [{"id": chip_id(item), **_chip(item, tokens, positions)} for item in listed]
    left = len(result.interventions) - len(chips)
    note = ""
    if result.interventions:
        note = f"re-ran {result.layers_run} of {layers} layers, {result.tokens_run} of {positions} tokens"
        took = result.seconds
        note += f" · {took:.1f} s" if took >= 1 else f" · {1000 * took:.0f} ms"
    told = panel.summary(
        (result.metric, result.before, result.after),
        [(token.token, token.before, token.after) for token in result.top],
        chips,
        note,
    )
    return {**told, "count": len(result.interventions), "left": left}


def chip_id(item: Intervention) -> str:
    """Return a short name of an intervention for messages: the same for the same one."""
    return hashlib.blake2b(repr(item).encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


def _chip(item: Intervention, tokens: list[str], count: int) -> dict[str, str]:
    """Return e.g. ``mean · L4``, the token ``·John`` and ``at 10``; or ``zero · L2 z head 3`` and neither."""
    site = item.site
    where = f"L{site.layer}"
    if site.component != "resid_post":
        where += f" {site.component}"
    where += "" if site.head is None else f" head {site.head}"
    where += "" if site.neuron is None else f" neuron {site.neuron}"
    token, place = "", ""
    if site.pos is not None:
        pos = site.pos % count
        token = tokens[pos] if tokens else ""
        place = f"at {pos}" if not token or tokens.count(token) > 1 else ""
    return {"label": f"{item.op.replace('_', ' ')}{_strength(item)} · {where}", "token": token, "place": place}


def _strength(item: Intervention) -> str:
    """Return what an intervention's effect depends on, where that is short to say."""
    match item.op:
        case "noise":
            return f" {panel.number_text(item.option('sigma'))}σ"
        case "add":
            return f" × {panel.number_text(item.option('alpha'))}"
        case "clamp":
            low, high = (item.option(name) for name in ("low", "high"))
            ends = ["−∞" if low is None else panel.number_text(low), "∞" if high is None else panel.number_text(high)]
            return f" {ends[0]} to {ends[1]}"
    return ""


def _visible_tokens(result: Ablation, run: Run | None) -> list[str]:
    """Return the prompt's tokens, visible; none where neither run nor picture has them."""
    if run is not None:
        return [visible(token) for token in run.tokens]
    return list(result.tokens_visible) if result.shown == "stream" else []

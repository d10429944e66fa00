"""What the model would say if it stopped at each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Int
from numpy.typing import NDArray

from resid_widgets.analysis.code import layer_names, setup_code
from resid_widgets.analysis.grid import (
    WHAT,
    GridResult,
    carried_checks,
    check_component,
    grid_array,
    visible_tokens,
    with_options,
)
from resid_widgets.analysis.lens.lens_reading import read_lens
from resid_widgets.analysis.targets import Targets, resolve_targets, spelling_check
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Check, Scale
from resid_widgets.tokens import visible
from resid_widgets.whole import whole_number

SENTENCES = {
    "stream": "The next token if the model stopped here: the stream read through the final norm and unembedding. "
    "Early layers are not written to be read this way, so what is missing here may still be there.",
    "write": "What {what} says when read alone through the final norm and unembedding. "
    "The model never reads it alone: later layers and the rest of the stream decide.",
}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LogitLens(GridResult):
    """The lens' answers at each layer and token.

    Attributes
    ----------
    values
        ``[layer, pos]``, probability of the top token.
    tokens, token_ids, probs, logits
        ``[layer, pos, k]``, the `k` likeliest tokens (raw strings), best first. Where the logits are not finite: "",
        -1, NaN, NaN.
    entropy
        ``[layer, pos]``, of the lens' distribution, in nats.
    kl
        ``[layer, pos]``, KL(final || lens) in nats; final is the lens of ``resid_post[N-1]``: the model's own answer.
    rank
        ``[layer, pos, target]``, how many tokens have a larger logit: 0 is the top. NaN where not finite.
    target_probs, target_logits
        ``[layer, pos, target]``. The three have an empty `target` without targets.
    """

    tokens: xr.DataArray
    token_ids: xr.DataArray
    probs: xr.DataArray
    logits: xr.DataArray
    entropy: xr.DataArray
    kl: xr.DataArray
    rank: xr.DataArray
    target_probs: xr.DataArray
    target_logits: xr.DataArray

    @property
    def cell_text(self) -> NDArray[np.object_]:
        """The top token of each cell, visible, ``[layer, pos]``; "" where there is none."""
        top = self.tokens.values[..., 0]
        known = {text: visible(text) for text in set(top.ravel())}
        shown = [
            known[text] if id_ >= 0 else ""
            for text, id_ in zip(top.flat, self.token_ids.values[..., 0].flat, strict=True)
        ]
        return np.array(shown, dtype=object).reshape(top.shape)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a cell: top tokens (visible text) with probability and logit, entropy, KL, targets."""
        columns = {"probability": self.values, "entropy": self.entropy, "kl": self.kl}
        for k in range(self.tokens.sizes["k"]):
            columns[f"token_{k}"] = xr.apply_ufunc(visible, self.tokens.isel(k=k, drop=True), vectorize=True)
            columns[f"prob_{k}"] = self.probs.isel(k=k, drop=True)
            columns[f"logit_{k}"] = self.logits.isel(k=k, drop=True)
        for t, name in enumerate(self.rank.coords["target"].values):
            columns[f"rank of {visible(name)}"] = self.rank.isel(target=t, drop=True)
            columns[f"prob of {visible(name)}"] = self.target_probs.isel(target=t, drop=True)
            columns[f"logit of {visible(name)}"] = self.target_logits.isel(target=t, drop=True)
        arrays = {name: array.drop_vars("target_id", errors="ignore") for name, array in columns.items()}
        return xr.Dataset(arrays).to_dataframe().reset_index()


def check_options(model: ResidualModel, top_k: Any, targets: object) -> tuple[int, Targets]:
    """Return the options of a lens, checked; raises as `logit_lens`."""
    top_k = whole_number("top_k", top_k, 1, model.d_vocab, f"The vocabulary has {model.d_vocab} tokens.")
    return top_k, resolve_targets(model, targets)


@plain_state()
def logit_lens(
    run: Run,
    top_k: Any = 5,
    component: str = "resid_post",
    targets: object = None,
) -> LogitLens:
    """Read the stream at each layer as if it were the last one: ``unembed(ln_final(h))``.

    The normalisation statistics are recomputed at each layer; output soft-cap, scale and bias are included
    (nostalgebraist, "interpreting GPT: the logit lens", 2020; TransformerLens' ``logit_lens`` agrees).
    Rows are read in chunks: no tensor of ``[layer, pos, vocab]`` ever exists.

    Parameters
    ----------
    run
        From `resid_widgets.run`.
    top_k
        How many of the likeliest tokens to keep in each cell.
    component
        One of ``run.components``.
    targets
        Tokens to follow by rank, probability and logit: one or several, each a string that is exactly one token (used
        as given, spaces included) or a token id.

    Returns
    -------
    LogitLens

    Raises
    ------
    InputError
        If an argument is unknown, out of range, or a target is not exactly one token.
    """
    component = check_component(run, component)
    check_component(run, "resid_post")  # what `kl` compares with
    model = run.model
    top_k, chosen = check_options(model, top_k, targets)

    tables = read_lens(run, component, top_k, chosen.ids)
    values = np.ascontiguousarray(tables.probs[..., 0])
    broken = ~np.isfinite(values) | ~np.isfinite(tables.kl)
    own = Check.gap("last lens = logits", tables.gap, model.gap_limit, "last lens = logits")
    checks = carried_checks(run, component, values, broken, ~broken, own, scaled=False)
    doubt = spelling_check(model, chosen, run.final_logits)

    kind = "stream" if component.startswith("resid") else "write"
    tokens = _token_strings(run.model, tables.ids)
    k = {"k": np.arange(top_k)}
    named = {"target": np.array(chosen.names, dtype=object), "target_id": ("target", np.array(chosen.ids, dtype=int))}
    label = "probability of the top token"
    return LogitLens(
        values=grid_array(values, run, name="probability", long_name=label, units="probability"),
        checks=checks if doubt is None else (*checks, doubt),
        provenance=with_options(
            run.provenance, component=component, top_k=top_k, targets=chosen.names, target_ids=chosen.ids
        ),
        component=component,
        scale=Scale("sequential", 0.0, 1.0, under=False, over=False, label=label, units="0 to 1"),
        title=f"Logit lens · {component}",
        sentence=SENTENCES[kind].format(what=WHAT[component]),
        tokens_visible=visible_tokens(run),
        marked=run.marked,
        unknown=run.unknown,
        script=_script(run, component, top_k, chosen.ids),
        tokens=grid_array(tokens, run, "k", coords=k, name="token", long_name="likeliest tokens"),
        token_ids=grid_array(tables.ids, run, "k", coords=k, name="token_id", long_name="likeliest token ids"),
        probs=grid_array(tables.probs, run, "k", coords=k, name="prob", long_name="probability", units="probability"),
        logits=grid_array(tables.logits, run, "k", coords=k, name="logit", long_name="logit", units="logits"),
        entropy=grid_array(tables.entropy, run, name="entropy", long_name="entropy", units="nats"),
        kl=grid_array(tables.kl, run, name="kl", long_name="KL(final || lens)", units="nats"),
        rank=grid_array(tables.rank, run, "target", coords=named, name="rank", long_name="rank (0 = top)"),
        target_probs=grid_array(
            tables.target_probs, run, "target", coords=named, name="prob", long_name="probability", units="probability"
        ),
        target_logits=grid_array(
            tables.target_logits, run, "target", coords=named, name="logit", long_name="logit", units="logits"
        ),
    )


def _token_strings(model: ResidualModel, ids: Int[NDArray, "layer pos k"]) -> NDArray[np.object_]:
    """Return the raw string of each id, "" for -1; each id is decoded once."""
    known, place = np.unique(ids, return_inverse=True)
    real = [id_ for id_ in known.tolist() if id_ >= 0]
    # object, not numpy's "U": that would cut trailing NUL characters off
    strings = np.array([""] * (len(known) - len(real)) + model.token_strings(real), dtype=object)
    return strings[place].reshape(ids.shape)


def _script(run: Run, component: str, top_k: int, target_ids: tuple[int, ...]) -> str:
    """Return the code of a lens."""
    names, last = layer_names(run, component), run.model.hook_name("resid_post", run.model.n_layers - 1)
    return f"""{setup_code(run, [*names, last])}

@torch.no_grad()
def lens(h):  # [1, pos, d_model] -> [pos, d_vocab]: the norm's statistics are those of h itself
    logits = bridge.unembed(bridge.ln_final(h))
    return bridge.adapter.apply_output_logits_transform(logits)[0].float()  # soft-cap or scale, if it has one


targets = {list(target_ids)}
final = lens(cache[{last!r}]).log_softmax(-1)
token_ids, probs, logits, entropy, kl, rank = [], [], [], [], [], []
for name in {names}:  # layer by layer: all at once would fill the memory
    scores = lens(cache[name])
    log_probs = scores.log_softmax(-1)
    top = scores.topk({top_k})
    token_ids.append(top.indices)
    logits.append(top.values)
    probs.append(log_probs.gather(-1, top.indices).exp())
    entropy.append(torch.special.entr(log_probs.exp()).sum(-1))
    kl.append((final.exp() * (final - log_probs)).sum(-1))
    rank.append((scores[:, None, :] > scores[:, targets, None]).sum(-1))
token_ids, probs, logits, entropy, kl, rank = map(torch.stack, (token_ids, probs, logits, entropy, kl, rank))
values = probs[..., 0]
"""

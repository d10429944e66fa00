"""Which heads look at the token before, at earlier occurrences, at what came after those; and whether it matters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from transformer_lens import head_detector

from resid_widgets import interventions as ops
from resid_widgets.analysis.attention.found_code import found_code
from resid_widgets.analysis.attention.found_result import FoundHeads
from resid_widgets.analysis.attention.glance import Glance
from resid_widgets.analysis.attention.repeated import loss_at, repeated_tokens, repeating_positions
from resid_widgets.analysis.grid import with_options
from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.components import require_offered
from resid_widgets.models.layers.shapes import head_count, layers_with
from resid_widgets.models.model import as_model
from resid_widgets.models.progress import ending_bars, reporter
from resid_widgets.models.reuse.edits import Edit, edit_for
from resid_widgets.models.reuse.engine import engine_of
from resid_widgets.models.reuse.looking import each_layer
from resid_widgets.models.runs.run import Run
from resid_widgets.models.runs.run import run as run_prompt
from resid_widgets.results import Check
from resid_widgets.sites import Site
from resid_widgets.whole import whole_number

KINDS = ("previous_token", "duplicate_token", "induction")
HOW = ("mean", "zero")


@ending_bars()
@plain_state()
def find_heads(
    model_or_run: Any,
    kinds: Any = KINDS,
    *,
    how: Any = "mean",
    top: Any = 3,
    length: Any = 12,
    prompts: Any = 2,
    draws: Any = 10,
    seed: Any = 0,
    progress: Any = True,
) -> FoundHeads:
    """Find heads by where they look on repeated random tokens, and see what the model loses without them.

    Parameters
    ----------
    model_or_run
        A model, which is given random tokens said twice; or a run whose own tokens repeat.
    kinds
        One or several of ``"previous_token"`` (attention to the token before), ``"duplicate_token"`` (to earlier
        occurrences of the same token), ``"induction"`` (to what came after those).
    how
        What takes a head's place at all positions: its ``"mean"`` over the unmarked ones, or ``"zero"``.
    top
        So many heads of each kind are also taken out together.
    length, prompts
        Different tokens in a prompt, before they are said again; and how many such prompts are averaged over.
    draws
        Times that other heads of the same layers, drawn at random, are taken out together for comparison.
    seed
        Of tokens and draws.
    progress
        As in `resid_widgets.collect`, counted in ablated runs.

    Returns
    -------
    FoundHeads
        ``.values`` ``[kind, layer, head]``: mean attention to what the kind means. ``.loss`` ``[layer, head]``: how
        much the loss rises, in nats a token, where a repetition tells the next token.

    Raises
    ------
    InputError
        If an argument is out of range, or no repetition tells the next token of the run.
    UnsupportedModelError
        If the model shows no patterns, or writing heads would not reach its computation.

    Notes
    -----
    Induction heads as in Olsson et al. (2022). The detector's scores are TransformerLens' (`head_detector`, "mul"): the
    share of all attention that goes to such places, of rows that have none, too.
    """
    chosen = _kinds(kinds)
    if how not in HOW:
        raise InputError.about("how", how, "there is no such ablation here", f"Use one of {', '.join(HOW)}.")
    top = whole_number("top", top, 1, 1000, "3, say.")
    draws = whole_number("draws", draws, 1, 10_000, "10, say.")
    seed = whole_number("seed", seed, 0, 2**32 - 1, "Any whole number.")
    runs = _runs(model_or_run, length, prompts, seed)
    model = runs[0].model
    require_offered(model, "pattern")
    layers = layers_with(model, "pattern")
    counts = {layer: head_count(model, "pattern", layer) for layer in layers}
    heads = [(layer, head) for layer in layers for head in range(counts[layer])]
    shape = (len(layers), max(counts.values()))
    scores, detected, checks = _scores(runs, chosen, layers, shape)
    best = {kind: _first(scores[n], heads, layers, top) for n, kind in enumerate(chosen)}
    groups = {kind: [of, *_others(of, counts, draws, f"{kind} {seed}")] for kind, of in best.items()}
    rows = [[head] for head in heads] + [group for of in groups.values() for group in of]
    report = reporter(progress, "heads", "run")
    found = np.zeros((len(runs), len(rows)))
    base, before = np.zeros((2, len(runs)))
    total = len(runs) * len(rows)
    for n, each in enumerate(runs):
        base[n], before[n], found[n] = _losses(each, rows, how, lambda done, n=n: report(n * len(rows) + done, total))
    rise = (found - base[:, None]).mean(axis=0)
    loss = np.full(shape, np.nan)
    for place, value in zip(heads, rise[: len(heads)], strict=True):
        loss[layers.index(place[0]), place[1]] = value
    together = np.split(rise[len(heads) :], len(chosen))
    dims, coords = ("kind", "layer", "head"), {"kind": list(chosen), "layer": list(layers), "head": range(shape[1])}
    about = {"long_name": "mean attention to what the kind means", "units": "share"}
    values = xr.DataArray(scores, dims=dims, coords=coords, name="score", attrs=about)
    options = {"method": "find_heads", "how": how, "top": top, "length": None if _is_run(model_or_run) else length}
    result = FoundHeads(
        values=values,
        checks=(),
        provenance=replace(
            with_options(runs[0].provenance, **options, prompts=len(runs), draws=draws),
            token_ids=tuple(token for each in runs for token in each.token_ids),
            seed=seed,
        ),
        detector=values.copy(data=detected).rename("detector"),
        loss=xr.DataArray(
            loss, dims=dims[1:], coords={name: coords[name] for name in dims[1:]}, name="loss", attrs={"units": "nats"}
        ),
        base=float(base.mean()),
        best=best,
        together={kind: float(of[0]) for kind, of in zip(chosen, together, strict=True)},
        random={kind: of[1:] for kind, of in zip(chosen, together, strict=True)},
        how=how,
        title="Heads found on repeated tokens",
        sentence=(
            "Where heads look on repeated tokens, and how much worse the second time is told without each of them "
            f"(loss {float(base.mean()):.3g} nats with all). A head may do other things on other texts."
        ),
        script=found_code(runs[0], chosen, layers),
    )
    told = _repeats_check(float(base.mean()), float(before.mean()))
    return replace(result, checks=(*checks, told, *(_agreement(result, kind) for kind in chosen)))


def _is_run(given: object) -> bool:
    return isinstance(given, Run)


def _kinds(kinds: Any) -> tuple[str, ...]:
    items = (kinds,) if isinstance(kinds, str) else tuple(kinds) if isinstance(kinds, Sequence) else ()
    if not items or any(not isinstance(item, str) or item not in KINDS for item in items):
        raise InputError.about("kinds", kinds, "there is no such kind of head", f"Use some of {', '.join(KINDS)}.")
    return tuple(dict.fromkeys(items))


def _runs(given: Any, length: Any, prompts: Any, seed: int) -> list[Run]:
    if isinstance(given, Run):
        if given.base is not None:
            rule = "it has interventions already"
            raise InputError.about("model_or_run", "an intervened run", rule, "Take the run without: run.base.")
        if not repeating_positions(given.token_ids):
            rule = "nowhere in it a repetition tells the next token"
            raise InputError.about("model_or_run", given.tokens, rule, "Pass the model: it is given repeated tokens.")
        return [given]
    model = as_model(given)
    length = whole_number("length", length, 2, 100_000, "12, say.")
    count = whole_number("prompts", prompts, 1, 1000, "2, say.")
    ids = [repeated_tokens(model, length, seed + n) for n in range(count)]
    return [run_prompt(model, of, keep="resid_post", reuse=True) for of in ids]


def _scores(
    runs: Sequence[Run], kinds: Sequence[str], layers: Sequence[int], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Check]]:
    """Return our scores and those of TransformerLens' detector, ``[kind, layer, head]``, means over runs."""
    scores, detected = np.zeros((2, len(runs), len(kinds), *shape))
    checks: list[Check] = []
    for n, each in enumerate(runs):
        glance = Glance.of(each, layers, 1)
        tokens = torch.tensor([each.token_ids])
        wanted = [getattr(head_detector, f"get_{kind}_head_detection_pattern")(tokens) for kind in kinds]
        detected[n] = np.nan

        def look(layer: int, pattern: Tensor, n: int = n, glance: Glance = glance, wanted: Any = wanted) -> None:
            glance.look(layer, pattern)
            for number, where in enumerate(wanted):
                for head, of in enumerate(pattern.float().cpu()):
                    detected[n, number, layers.index(layer), head] = _similarity(of, where)

        each_layer(each, "pattern", look)
        scores[n] = np.stack([glance.scores[kind] for kind in kinds])
        checks = [*each.checks, glance.row_check(each)] if n == 0 else checks
    return scores.mean(axis=0), detected.mean(axis=0), checks


def _similarity(pattern: Float[Tensor, "pos key_pos"], where: Float[Tensor, "pos key_pos"]) -> float:
    return head_detector.compute_head_attention_similarity_score(
        pattern, where, exclude_bos=False, exclude_current_token=False, error_measure="mul"
    )


def _first(
    scores: Float[NDArray, "layer head"], heads: Sequence[tuple[int, int]], layers: Sequence[int], top: int
) -> list[tuple[int, int]]:
    """Return the heads with the largest scores."""
    order = sorted(heads, key=lambda head: -np.nan_to_num(scores[layers.index(head[0]), head[1]], nan=-1.0))
    return order[:top]


def _others(
    best: Sequence[tuple[int, int]], counts: dict[int, int], draws: int, seed: str
) -> list[list[tuple[int, int]]]:
    """Return as many other heads of the same layers, drawn at random, `draws` times."""
    choose, found = random.Random(seed), []
    for _ in range(draws):
        drawn: list[tuple[int, int]] = []
        for layer, _ in best:
            free = [head for head in range(counts[layer]) if (layer, head) not in (*best, *drawn)]
            if free:
                drawn.append((layer, choose.choice(free)))
        found.append(drawn)
    return found


def _losses(
    run: Run, rows: Sequence[Sequence[tuple[int, int]]], how: str, report: Any
) -> tuple[float, float, NDArray[np.float64]]:
    """Return the loss where repetition tells the next token, that elsewhere, and the first without groups of heads."""
    positions = repeating_positions(run.token_ids)
    elsewhere = [pos for pos in range(run.n_pos - 1) if pos not in positions]
    ids = torch.tensor(run.token_ids)
    last = run.activation("resid_post", run.model.n_layers - 1)
    following = ids[[pos + 1 for pos in positions]]
    base = loss_at(run, positions, last[positions], following)
    before = loss_at(run, elsewhere, last[elsewhere], ids[[pos + 1 for pos in elsewhere]])
    made: dict[tuple[int, int], Edit] = {}
    for layer, head in {of for row in rows for of in row}:
        made[layer, head] = edit_for(run, getattr(ops, how)(Site("z", layer, head=head)))
    engine = engine_of(run, {"z"})
    found, done = np.full(len(rows), base), 0
    asked = [n for n, row in enumerate(rows) if row]
    for wave in engine.rows([[made[of] for of in rows[n]] for n in asked]):
        for row in wave:
            final = torch.stack([last[pos] if pos < row.start else row.final[pos - row.start] for pos in positions])
            found[asked[row.number]] = loss_at(run, positions, final, following)
        done += len(wave)
        report(done)
    return base, before, found


def _agreement(result: FoundHeads, kind: str) -> Check:
    """Say whether score and detector name the same head first, and whether the loss says that it matters."""
    layer, head = result.best[kind][0]
    score = float(result.values.sel(kind=kind, layer=layer, head=head))
    detector = result.detector.sel(kind=kind)
    first = detector.fillna(-1.0).argmax(("layer", "head"))
    named = int(detector["layer"][int(first["layer"])]), int(detector["head"][int(first["head"])])
    same = named == (layer, head)
    also = "is first for the detector, too" if same else f"is first, for the detector {named[0]}.{named[1]}"
    names = ", ".join(f"{layer}.{head}" for layer, head in result.best[kind])
    rise, others = result.together[kind], result.random[kind]
    text = (
        f"{kind.replace('_', ' ')}: {layer}.{head} ({score:.2f}) {also}; without {names} the loss rises by {rise:.3g}, "
        f"without as many others of their layers by {float(np.mean(others)):.3g}"
    )
    good = same and rise > float(np.max(others))
    return Check(f"{kind} heads", "green" if good else "amber", rise, None, text)


def _repeats_check(base: float, first: float) -> Check:
    """Say whether the model does what the heads are for: without that, no ablation can show anything."""
    text = f"the second time is told with a loss of {base:.3g} nats, the first time with {first:.3g}"
    return Check("repeats", "green" if base < 0.5 * first else "amber", base, None, text)

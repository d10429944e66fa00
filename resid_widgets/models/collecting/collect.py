"""collect: activations of many prompts, in memory or in a store, within a stated amount of memory."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.collecting.activation_sources import Held
from resid_widgets.models.collecting.activations import Activations
from resid_widgets.models.collecting.batch_plan import BATCH_TOKENS, Plan
from resid_widgets.models.collecting.batches import Place, read_batch
from resid_widgets.models.collecting.collect_memory import Needed, memory_needed, require_budget
from resid_widgets.models.collecting.open_activations import checks_of, of_store, require_same_weights
from resid_widgets.models.collecting.positions import describe_positions, positions_of
from resid_widgets.models.collecting.ray_engine import RayEngine
from resid_widgets.models.collecting.store import Store
from resid_widgets.models.components import named_components, offered_components
from resid_widgets.models.layers.shapes import one_shape
from resid_widgets.models.memory import human
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.progress import Report, ending_bars, reporter
from resid_widgets.models.prompt_list import read_prompts
from resid_widgets.models.runs.run import Run, run
from resid_widgets.models.structure import relative_gap
from resid_widgets.models.token_checks import NAMES, token_checks
from resid_widgets.results import Check
from resid_widgets.sites import RESIDUAL
from resid_widgets.whole import several_whole, whole

COLLECTED = (*RESIDUAL, "mlp_post")
"""What can be collected: everything of which a position has one vector."""


@ending_bars()
@plain_state()
def collect(
    model: Any,
    prompts: Any,
    components: Any = "resid_post",
    positions: Any = "last",
    *,
    layers: Any = None,
    store: Any = None,
    append: bool = False,
    engine: str = "local",
    workers: Any = None,
    bos: bool | None = None,
    batch_tokens: Any = None,
    budget: Any = None,
    progress: Any = True,
) -> Activations:
    """Collect activations of many prompts.

    Prompts of equal length go through the model together, without padding, and only the positions asked for are kept.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    prompts
        Strings, token ids, labelled prompts (``rw.tasks.load(...).prompts``, or anything with a ``text``) or a task; a
        tokenizer's output, whose attention mask is respected (padding is left out, and positions count from the first
        real token); or rows or a table with a column ``input_ids``, ``text`` or ``prompt``, and perhaps ``label``,
        ``group`` and ``position``. Of another column give its values: ``prompts=table["sentence"]``.
    components
        One or more of resid_pre, resid_mid, resid_post, attn_out, mlp_out, mlp_post.
    positions
        Which positions of each prompt are kept. ``"last"``, which is never a pad token; ``"all"``; ``"not_first"``, all
        but position 0;
        ``"given"``, each prompt's own ``.position``; a whole number for all prompts (negative from the end); a list of
        one number, or one list of numbers, a prompt; ``{"token": " cat"}`` (or a list of tokens), where that token
        stands, with ``"which": "first"`` or ``"last"`` in one place only; or a function from the token strings of a
        prompt to positions.
    layers
        Some layers only; by default all.
    store
        A folder to write to. One batch at a time is then in memory. Called again with the same arguments, a collection
        that was cut short goes on where it stopped, and ends in the same bytes.
    append
        Add other prompts to a store that holds some already.
    engine
        ``"local"``, or ``"ray"`` for a Ray cluster (started here where there is none) that gives the same bytes.
    workers
        For ``"ray"``: how many, each with a model of its own. By default as many as the cluster has room for.
    bos
        None follows the tokenizer's own default; True and False override it. Token ids are used as given.
    batch_tokens
        Tokens that go through the model at once, 2048 by default. A longer prompt goes alone.
    budget
        Bytes of memory that the collection may use, by default a quarter of what is free.
    progress
        True shows a bar. A function is called after each batch with the samples done and in all; it may raise to stop.

    Returns
    -------
    Activations
        Float32 numbers by layer, one row a sample; with checks: the residual identity and last lens = logits on the
        first prompt, and that prompt in its batch against it alone.

    Raises
    ------
    InputError
        For a prompt, component, layer or position rule that is not there, layers of which one has no such component or
        another width, a collection that needs more than the budget (said before anything is allocated), a store of
        another model, plan or version, one that another process writes to, one that is damaged, or Ray where it is not
        installed.
    """
    model = as_model(model)
    workers = _require_options(engine, workers, append, store)
    report = reporter(progress, "collect", "sample")
    names = offered_components(model, named_components("components", components, COLLECTED), by_default=False)
    chosen = _layers(model, layers)
    tokens = _positive("batch_tokens", BATCH_TOKENS if batch_tokens is None else batch_tokens)
    allowed = None if budget is None else _positive("budget", budget)
    opened = None if store is None else Store(store)
    if opened is not None:
        opened.require_folder()
    entries = read_prompts(model, prompts, bos)
    plan = Plan.of(model, entries, positions_of(model, entries, positions), tokens)
    places = [(component, layer) for component in names for layer in chosen]
    widths = {component: one_shape(model, component, chosen)[0] for component in names}
    runner = _engine(engine, model, plan, places, workers)
    needed = memory_needed(model, plan, places, widths, in_memory=store is None, flying=runner.flying)
    require_budget(needed, allowed, model.device)

    first = run(model, plan.rows(0)[0], keep=names)
    header = {
        "model": model.name,
        "weights_hash": first.provenance.weights_hash,
        "dtype": first.provenance.dtype,
        "device": first.provenance.device,
        "versions": dict(first.provenance.versions),
        "widths": widths,
        "layers": chosen,
        "d_model": model.d_model,
        "options": {
            "positions": describe_positions(positions),
            "bos": bos,
            "batch_tokens": tokens,
            "weights": first.provenance.options["weights"],
        },
    }
    checks = [check for check in first.checks if check.name not in {"finite", *NAMES}]  # told of all prompts instead
    facts = {"checks": [asdict(check) for check in (*checks, *token_checks(entries))], "not_finite": 0}
    job = _Job(model, plan, places, widths, header, facts, first)
    if opened is None:
        return _in_memory(job, runner, report, needed)
    return _in_store(job, runner, report, needed, opened, append)


@dataclass(frozen=True)
class _Job:
    """What is collected, and what is known of it before it begins."""

    model: ResidualModel
    plan: Plan
    places: list[Place]
    widths: dict[str, int]
    header: dict[str, Any]
    facts: dict[str, Any]
    first: Run

    @property
    def itemsize(self) -> int:
        return self.model.dtype.itemsize

    def learn(self, facts: dict[str, Any], batch: int, found: dict[Place, Tensor]) -> dict[str, Any]:
        """Return `facts` with what a batch has shown."""
        lost = sum(int(value.numel() - torch.isfinite(value).sum()) for value in found.values())
        checks = facts["checks"] if batch else [*facts["checks"], asdict(self._apart(found))]
        return {"checks": checks, "not_finite": facts["not_finite"] + lost}

    def _apart(self, found: dict[Place, Tensor]) -> Check:
        """Hold the first prompt of the first batch against a run of it alone."""
        kept = list(self.plan.kept(0)[0])
        gaps = [relative_gap(found[p][: len(kept)], _flat(self.first.tensor(*p)).cpu()[kept]) for p in self.places]
        return Check.gap("batch = alone", float(np.max(gaps)), self.model.gap_limit, "a prompt in its batch = it alone")


def _flat(value: Tensor) -> Tensor:
    return value.reshape(value.shape[0], -1)


def _in_memory(job: _Job, engine: Local | RayEngine, report: Report, needed: Needed) -> Activations:
    held = Held(job.places, job.widths, job.plan.n_samples, job.model.dtype)
    facts, done = job.facts, 0
    with closing(engine.batches(0, job.header["weights_hash"])) as batches:
        for batch, found in batches:
            samples = job.plan.samples(batch)
            held.put(samples, found)
            facts = job.learn(facts, batch, found)
            done += len(samples)
            report(done, job.plan.n_samples)
    return Activations(held, job.header, [job.plan], checks_of([facts]), model=job.model, peak=needed.total)


def _in_store(
    job: _Job, engine: Local | RayEngine, report: Report, needed: Needed, store: Store, append: bool
) -> Activations:
    with store.writing():
        if store.manifest:
            require_same_weights(store, job.model)
        part = store.begin(job.header, job.plan, job.facts, append)
        start = store.parts[part]["done"]
        _require_disk(job, store, start)
        done = sum(len(job.plan.samples(batch)) for batch in range(start))
        with closing(engine.batches(start, job.header["weights_hash"])) as batches:
            for batch, found in batches:
                known = {name: store.parts[part][name] for name in job.facts}
                store.commit(part, batch, found, job.learn(known, batch, found))
                done += len(job.plan.samples(batch))
                report(done, job.plan.n_samples)
    return of_store(store, job.model, peak=needed.total)


@dataclass(frozen=True)
class Local:
    """Runs the batches of a plan here, one after the other."""

    model: ResidualModel
    plan: Plan
    places: list[Place]
    flying: int = 1

    def batches(self, start: int, weights_hash: str) -> Generator[tuple[int, dict[Place, Tensor]], None, None]:
        """Run the batches from number `start` on, and give each with what it gave, in order."""
        for n in range(start, len(self.plan.batches)):
            yield n, read_batch(self.model, self.plan.rows(n), self.plan.kept(n), self.places, weights_hash)


def _engine(
    engine: str, model: ResidualModel, plan: Plan, places: list[Place], workers: int | None
) -> Local | RayEngine:
    return Local(model, plan, places) if engine == "local" else RayEngine(model, plan, places, workers)


def _require_disk(job: _Job, store: Store, start: int) -> None:
    samples = sum(len(job.plan.samples(batch)) for batch in range(start, len(job.plan.batches)))
    needed = samples * sum(job.widths[component] for component, _ in job.places) * job.itemsize
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        rule = f"it will take {human(needed)}, and only {human(free)} are free there"
        raise InputError.about("store", str(store.folder), rule, "Write elsewhere, or keep fewer positions or layers.")


def _layers(model: ResidualModel, layers: Any) -> list[int]:
    n = model.n_layers
    if layers is None:
        return list(range(n))
    chosen = several_whole(layers)
    if not chosen or not all(-n <= x < n for x in chosen):
        raise InputError.about("layers", layers, f"the model has layers 0 .. {n - 1}", "Choose one or more of them.")
    return sorted({x % n for x in chosen})


def _positive(name: str, value: object) -> int:
    number = whole(value)
    if number is None or number < 1:
        raise InputError.about(name, value, "a whole number of at least 1 is needed", "Leave it out for the default.")
    return number


def _require_options(engine: object, workers: Any, append: object, store: object) -> int | None:
    """Return the number of workers."""
    if engine not in ("local", "ray"):
        raise InputError.about("engine", engine, "must be 'local' or 'ray'", "'local' is the default.")
    if workers is not None:
        workers = _positive("workers", workers)
        if engine != "ray":
            raise InputError.about("workers", workers, "only Ray has workers", "Pass engine='ray', or leave it out.")
    if append and store is None:
        raise InputError.about("append", append, "there is no store to add to", "Pass store=path.")
    return workers

"""How edited copies of a run are computed: by exact reuse where that is proved for the model, else by full passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.forward import forward
from resid_widgets.models.hooks import refuse_foreign_hooks
from resid_widgets.models.memory import free_bytes
from resid_widgets.models.reuse.block_actions import Watch
from resid_widgets.models.reuse.blocks import Replayed, Row, replayed
from resid_widgets.models.reuse.edits import Edit, edits_for
from resid_widgets.models.reuse.full_passes import full_passes
from resid_widgets.models.reuse.proofs import proof_of
from resid_widgets.models.runs.recording import Recording
from resid_widgets.models.runs.run import Run
from resid_widgets.models.runs.same_model import require_same_logits, require_same_model
from resid_widgets.models.structure import relative_gap, structure_of
from resid_widgets.models.trouble import in_short
from resid_widgets.results import Check

WAVE_TOKENS = {"cpu": 1024}
MOST_WAVE_TOKENS = 16_384
"""Tokens that go through a block at once, where memory allows: enough for full speed, few enough to show progress (on a
CPU, to stay in its caches)."""


@dataclass(frozen=True, eq=False)
class Engine:
    """Runs edited copies of one run. Made by `engine_of`.

    Attributes
    ----------
    run
        The run without interventions.
    recording
        What is reused; None where full passes are made.
    check
        How the numbers were made, and how far they are from full passes.
    background
        Edits that every row has: those of an intervened run.
    """

    run: Run
    recording: Recording | None
    check: Check
    background: list[Edit] = field(default_factory=list)

    def rows(
        self,
        rows: Sequence[Row],
        *,
        budget: int | None = None,
        wave_tokens: int | None = None,
        watch: Watch | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[list[Replayed]]:
        """Run edited copies up to the final stream, and give them a wave at a time.

        Parameters
        ----------
        rows
            The edits of each, beside those of the background.
        budget
            Bytes that may be in use at once; a quarter of what is free by default.
        wave_tokens
            Tokens that go up at once, where the budget allows.
        watch
            For a single row: what is kept of its numbers on the way.
        check
            Called often; may raise to stop.
        """
        rows = [[*self.background, *row] for row in rows]
        if self.recording is None:
            allow = bool(self.run.provenance.options["allow_hooks"])
            yield from full_passes(
                self.run.model, self.run.token_ids, rows, watch=watch, check=check, allow_hooks=allow
            )
            return
        yield from replayed(
            self.recording,
            rows,
            budget=budget or default_budget(self.run),
            most_tokens=wave_tokens or WAVE_TOKENS.get(self.run.model.device.type, MOST_WAVE_TOKENS),
            watch=watch,
            check=check,
        )
        if not self.run.provenance.options["allow_hooks"]:
            refuse_foreign_hooks(
                self.run.model
            )  # what is compared with a full pass must not have been hooked meanwhile


def default_budget(run: Run) -> int:
    """Return a quarter of the memory that is free where the model is."""
    return free_bytes(run.model.device) // 4


def engine_of(run: Run, components: Collection[str]) -> Engine:
    """Return the engine for edits of `components` of `run`; its recording is made once and kept with the run.

    Raises
    ------
    InputError
        If the model has changed since, gives other logits for the prompt than the run's, bears hooks that are not ours,
        or is in train mode.
    """
    if run.base is not None:
        whole = engine_of(run.base, {*components, *(item.site.component for item in run.interventions)})
        return Engine(whole.run, whole.recording, whole.check, edits_for(run.base, run.interventions))
    model = run.model
    with model.lock:  # what a running cell has done to the model for a moment is its own affair
        model.require_eval()
        require_same_model(model, run.provenance)
        if run.provenance.options["allow_hooks"]:
            return _by_full_passes(run, "the model may bear other people's hooks")
        refuse_foreign_hooks(model)
        if model.folded:
            return _by_full_passes(run, "TransformerLens has folded the weights")
        if not structure_of(model).causal:
            return _by_full_passes(run, "a later token changes what comes before it, so that no prefix stays as it was")
        proof = proof_of(model, set(components))
        if proof.failed:
            return _by_full_passes(run, proof.failed)
        if run.recording is None:
            try:
                recording = Recording(model, run.token_ids)
            except UnsupportedModelError as error:  # where only a longer prompt shows it
                return _by_full_passes(run, f"this run cannot be recorded ({in_short(error)})")
            require_same_logits(model, run.provenance, run.final_logits, recording.logits[-1])
            run.recording = recording
        text = f"equals full runs, gap {proof.gap:.1g}"
        return Engine(run, run.recording, Check("exact reuse", "green", proof.gap, model.gap_limit, text))


def engine_of_embedded(run: Run, components: Collection[str]) -> Engine:
    """Return the engine for edits of an intervened run whose interventions all stand at the embedded stream.

    Nothing comes before ``resid_pre[0]``, so such a run can be recorded as if its embedding were the model's own:
    edits above then re-run as little of it as of any other. The recording is not kept.

    Raises
    ------
    InputError
        As `engine_of` does.
    """
    whole = engine_of(run, components)
    first = all(edit.component == "resid_pre" and edit.layer == 0 for edit in whole.background)
    if run.base is None or whole.recording is None or not first:
        return whole
    recording = Recording(run.model, run.token_ids, run.activation("resid_pre", 0))
    gap = relative_gap(recording.stream[-1], run.activation("resid_post", run.model.n_layers - 1))
    if not gap <= run.model.gap_limit:
        return whole
    return Engine(run, recording, whole.check)


def _by_full_passes(run: Run, reason: str) -> Engine:
    allow = bool(run.provenance.options["allow_hooks"])
    if allow or not run.repeated:  # hooks come and go
        again = forward(run.model, run.token_ids, allow_hooks=allow)
        require_same_logits(run.model, run.provenance, run.final_logits, again[-1])
        run.repeated = True
    text = f"computed by full runs, which is slow, because {reason}"
    return Engine(run, None, Check("exact reuse", "amber", None, None, text))

"""run: one forward pass over one prompt that records its residual stream, and verifies it while it goes by."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from resid_widgets.errors import UnsupportedModelError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.bare import proven, record
from resid_widgets.models.components import offered_components, wanted_components
from resid_widgets.models.hooks import foreign_hooks, refuse_foreign_hooks
from resid_widgets.models.listing import listed
from resid_widgets.models.memory import require_memory
from resid_widgets.models.model import ResidualModel, as_model
from resid_widgets.models.provenance import provenance_of
from resid_widgets.models.runs.recorder import Recorder, lens_check
from resid_widgets.models.runs.recording import Recording
from resid_widgets.models.runs.result import Run
from resid_widgets.models.runs.run_memory import estimate_memory
from resid_widgets.models.structure import structure_of
from resid_widgets.models.tokenize import tokenize
from resid_widgets.results import Check


@plain_state()
def run(
    model: Any,
    prompt: object,
    keep: object = None,
    *,
    bos: bool | None = None,
    allow_hooks: bool = False,
    reuse: bool = False,
) -> Run:
    """Run a prompt once and record its residual stream.

    Parameters
    ----------
    model
        A ResidualModel or a bare TransformerBridge.
    prompt
        A string; token ids ``[pos]`` or ``[1, pos]``; a tokenizer's output, whose attention mask is respected (padding
        is left out, and positions count from the first real token); a labelled prompt or a row with a column
        ``input_ids``, ``text`` or ``prompt``; or another Run, whose token ids are taken.
    keep
        Components to record, any of `resid_widgets.sites.COMPONENTS`, and ``"logits"`` for all positions. By
        default the stream and its writes: resid_pre, resid_mid, resid_post, attn_out, mlp_out. Nothing else is kept.
    bos
        None follows the tokenizer's own default; True and False override it. Token ids are used as given.
    allow_hooks
        Run a model that bears other people's hooks (an SAE, steering); the result says so.
    reuse
        Record in the same pass what exact reuse needs, for interventions that will follow. Otherwise the first of them
        does, in a pass of its own.

    Returns
    -------
    Run
        With checks: residual identity over all layers (verified while the run goes by) and last-layer lens = logits.

    Raises
    ------
    InputError
        For an empty prompt, ids of wrong shape or range, more tokens than the context, an unknown component, a
        model in train mode or with foreign hooks, or a run that would not fit in memory.
    UnsupportedModelError
        If the model's parts do not add up.
    """
    model = as_model(model)
    wanted = wanted_components(keep)
    prompt_tokens = tokenize(model.tokenizer, prompt, bos=bos, d_vocab=model.d_vocab, n_ctx=model.n_ctx)
    with model.lock:
        model.require_eval()
        if not allow_hooks:
            refuse_foreign_hooks(model)
        foreign = foreign_hooks(model) if allow_hooks else []
        options = {"keep": wanted, "bos": bos, "allow_hooks": allow_hooks, "foreign_hooks": tuple(foreign)}
        provenance = provenance_of(model, prompt_tokens, options)  # first: it forgets what is known of another state
        structure = structure_of(model)
        kept, all_logits = offered_components(model, wanted, keep is None), "logits" in wanted
        needed = estimate_memory(model, len(prompt_tokens.ids), kept, all_logits)
        remedy = "Keep fewer components (keep=['resid_post']), or shorten the prompt."
        require_memory(needed, model.device, "memory of the run", remedy)

        recorder, recording = Recorder(model, structure.parallel, kept), None
        plain = not allow_hooks and not model.folded and structure.causal
        if reuse and plain and not all_logits and proven(model, recorder.actions(), provenance.weights_hash):
            try:
                recording = Recording(model, prompt_tokens.ids, actions=recorder.actions())
            except UnsupportedModelError:  # a hybrid's, whose edited runs are full passes: `engine_of` says why
                recorder = Recorder(model, structure.parallel, kept)
        if recording is None:
            logits = record(
                model,
                prompt_tokens.ids,
                recorder.actions(),
                provenance.weights_hash,
                last_only=not all_logits,
                allow_hooks=allow_hooks,
            )
        else:
            logits = recording.logits
        checks = recorder.checks() + lens_check(model, recorder.final, logits)
        if foreign:
            text = f"hooks that are not ours were on {listed(foreign)}"
            checks += (Check("foreign hooks", "amber", float(len(foreign)), 0.0, text),)
        norms = torch.stack(recorder.norms).cpu()
        again = partial(_again, model, prompt_tokens.ids, allow_hooks)
        made = Run(model, prompt_tokens, kept, recorder.kept, norms, logits, checks, provenance, again)
        made.recording = recording
        return made


def _again(model: ResidualModel, ids: tuple[int, ...], allow_hooks: bool, component: str) -> Run:
    return run(model, ids, keep=component, allow_hooks=allow_hooks)

"""How much memory a collection takes, foretold before it allocates."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from resid_widgets.errors import InputError
from resid_widgets.models.collecting.batch_plan import Plan
from resid_widgets.models.collecting.batches import Place
from resid_widgets.models.memory import CPU, free_bytes, human, require_memory
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run_memory import estimate_memory

SAMPLE_BYTES, TOKEN_BYTES = 250, 50
"""What the table of samples, and the tokens of the plan as JSON and in provenance, take at most while they are made."""

SLACK = 1.3
"""What a pass keeps from the system beside its tensors: freed pieces of other sizes that the allocator holds back."""


@dataclass(frozen=True)
class Needed:
    """Bytes that a collection uses at most, beyond the model.

    Attributes
    ----------
    held
        What it holds in the end; 0 with a store.
    passing
        One forward pass of the largest batch, on the model's device.
    kept
        What is kept of batches that are not yet put away.
    tables
        What says where each sample is from.
    on_cpu
        Whether the pass uses the same memory.
    """

    held: int
    passing: int
    kept: int
    tables: int
    on_cpu: bool

    @property
    def total(self) -> int:
        """Bytes of the machine's own memory."""
        return self.held + self.kept + self.tables + (self.passing if self.on_cpu else 0)


def memory_needed(
    model: ResidualModel,
    plan: Plan,
    places: Sequence[Place],
    widths: Mapping[str, int],
    *,
    in_memory: bool,
    flying: int,
) -> Needed:
    """Foretell the memory of a collection.

    Parameters
    ----------
    flying
        How many batches are under way at once: 1 on the local engine.
    """
    sample = sum(widths[component] for component, _ in places) * model.dtype.itemsize
    all_logits = "logits_to_keep" not in inspect.signature(model.bridge.original_model.forward).parameters
    passing = kept = 0
    for batch, numbers in enumerate(plan.batches):
        length = len(plan.ids[numbers[0]])
        passing = max(passing, len(numbers) * estimate_memory(model, length, (), all_logits))
        kept = max(kept, sum(map(len, plan.kept(batch))) * sample)
    held = plan.n_samples * sample if in_memory else 0
    tables = SAMPLE_BYTES * plan.n_samples + TOKEN_BYTES * sum(map(len, plan.ids))
    # Twice: as the pass keeps it, and as it is put away.
    return Needed(held, int(SLACK * passing), 2 * flying * kept, tables, model.device == CPU)


def require_budget(needed: Needed, budget: int | None, device: torch.device) -> None:
    """Refuse a collection that needs more than `budget`, by default a quarter of the free memory.

    Raises
    ------
    InputError
        Naming what is needed, what is allowed, and what to do.
    """
    allowed = free_bytes(CPU) // 4 if budget is None else budget
    if needed.total > allowed:
        whose = f"a quarter of the {human(free_bytes(CPU))} that are free" if budget is None else "the budget"
        rule = f"that is more than {human(allowed)}, {whose}"
        remedy = "Pass a smaller batch_tokens=, or budget=."
        if needed.total - needed.held <= allowed:
            remedy = "Pass store=path to keep one batch at a time in memory, fewer positions or layers, or budget=."
        raise InputError.about("memory of the collection", human(needed.total), rule, remedy)
    if not needed.on_cpu:
        require_memory(needed.passing + needed.kept, device, "memory of a batch", "Pass a smaller batch_tokens=.")

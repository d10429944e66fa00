"""Results as scripts: the same numbers from plain TransformerLens and PyTorch, without this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resid_widgets.models.loading.load_model import TINY
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.results import Provenance

CACHED = [
    "def cached(tokens):",
    "    with torch.no_grad():",
    "        return bridge.run_with_cache(tokens)",
    "",
]


def boot_code(run: Run) -> str:
    """Return the start of a script: ``bridge`` and ``tokens``."""
    origin = run.provenance
    return "\n".join([bridge_code(run.model, origin), f"tokens = {tokens_literal(run)}"])


def tokens_literal(run: Run) -> str:
    """Return a run's token ids as a tensor."""
    return f"torch.tensor([{list(run.token_ids)}], device={run.provenance.device!r})"


def bridge_code(model: ResidualModel, origin: Provenance) -> str:
    """Return the start of a script: ``bridge``.

    A model that cannot be loaded again by name or folder is left for the reader to define.
    """
    source = str(getattr(model.bridge.original_model.config, "name_or_path", "") or "")
    versions = ", ".join(f"{name} {number}" for name, number in origin.versions.items())
    lines = [
        f"# {_one_line(origin.model)} (weights {origin.weights_hash[:12]}), {origin.bos}; made with {versions}",
        "import torch",
        "from transformer_lens.model_bridge import TransformerBridge",
        "",
    ]
    if source and model.tokenizer is not None:
        options = f"device={origin.device!r}, dtype=torch.{origin.dtype}"
        place = repr(source)
        if Path(source) == TINY:  # wherever the package is installed
            lines.insert(1, "from importlib.resources import files")
            place = 'str(files("resid_widgets") / "models/tiny/weights")'
        lines.append(f"bridge = TransformerBridge.boot_transformers({place}, {options})")
    else:
        lines.append("bridge: TransformerBridge  # the model was not loaded by name: define it above")
    return "\n".join(lines)


def setup_code(run: Run, names: Sequence[str]) -> str:
    """Return the start of a script: ``bridge``, ``tokens``, and a ``cache`` of the hook points `names`."""
    return "\n".join(
        [
            boot_code(run),
            f"names = {list(dict.fromkeys(names))}",
            "with torch.no_grad():",
            "    _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name in names)",
            "",
        ]
    )


def layer_names(run: Run, component: str) -> list[str]:
    """Return TransformerLens' names of `component`, layer 0 first."""
    return [run.model.hook_name(component, layer) for layer in run.layers]


def hook_of(run: Run, component: str, layer: int) -> str:
    """Return where a component is written: TransformerLens' hook_resid_mid is only what the MLP reads."""
    return run.model.hook_name("attn_out" if component == "resid_mid" else component, layer)


def _one_line(text: str) -> str:
    """Return `text` fit for a comment."""
    return " ".join(text.split())

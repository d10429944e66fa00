"""One neuron read anew, by running the model: on a text of the reader's own, or on all prompts again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from resid_widgets.analysis.neurons.collect import batches
from resid_widgets.models.runs.run import run
from resid_widgets.tokens import visible

if TYPE_CHECKING:
    import pandas as pd


def on_text(patterns: Any, text: object, layer: int, neuron: int) -> xr.DataArray:
    """Return the activation at each position of a text; see ``NeuronPatterns.activations_of``."""
    made = run(patterns.model, text, keep=patterns.component)
    values = made.tensor(patterns.component, layer)[:, neuron].float().cpu().numpy()
    return xr.DataArray(
        values,
        dims="pos",
        coords={"pos": np.arange(made.n_pos), "token": ("pos", [visible(token) for token in made.tokens])},
        name="activation",
        attrs={"long_name": f"activation of {patterns.name(layer, neuron)}", "units": "", "marked": made.marked},
    )


def on_prompts(patterns: Any, layer: int, neuron: int) -> pd.DataFrame:
    """Return the activation at every position of all prompts; see ``NeuronPatterns.read``."""
    import pandas as pd

    plan = replace(patterns.kept.plan, layers=(int(layer),), neurons=(int(neuron),))
    parts = []
    for batch in batches(patterns.model, patterns.prompts, plan, patterns.provenance.weights_hash):
        for n, number in enumerate(batch.numbers):
            ids = patterns.prompts.tokens[number].ids
            columns = {
                "prompt": number,
                "pos": np.arange(len(ids)),
                "token_id": ids,
                "token": patterns.model.token_strings(ids),
                "activation": batch.x[0, n],
                "marked": batch.marked[n],
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts).sort_values(by=["prompt", "pos"], ignore_index=True)

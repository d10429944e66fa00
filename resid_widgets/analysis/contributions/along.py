"""Any vector of the stream, split by its writers along any direction: a probe's, a token's, what a head reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from resid_widgets.analysis.contributions.build import contributions
from resid_widgets.analysis.contributions.code import contributions_code, logit_lines, vector_lines
from resid_widgets.analysis.contributions.direction import logit_directions
from resid_widgets.analysis.contributions.parts import layers_of, parts_along, writers_before
from resid_widgets.analysis.contributions.result import Contributions
from resid_widgets.analysis.contributions.rows import rows_of_runs
from resid_widgets.analysis.grid import with_options
from resid_widgets.errors import InputError
from resid_widgets.held import Held
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.sites import STREAM, Site, as_site
from resid_widgets.tokens import visible
from resid_widgets.whole import is_whole


@plain_state()
def along(run: Any, direction: Any, site: Any = None, by: Any = "component", *, layers: Any = None) -> Contributions:
    """Split what stands in the stream along a direction by what has written it there.

    Parameters
    ----------
    run
        From `resid_widgets.run` or `intervene`.
    direction
        ``[d_model]`` numbers in stream coordinates, used as they are: their length counts. Or a token, as string or id:
        the direction that its logit reads through the final norm, held at its scale for the vector that is split (at
        an earlier site that is what the logit lens shows).
    site
        Where: a `Site` of resid_pre, resid_mid or resid_post, ``pos`` the last one if it names none. By default the
        final stream at the last position.
    by, layers
        As in `resid_widgets.direct_logit_attribution`.

    Returns
    -------
    Contributions
        ``values.sum() + rest.sum() + bias = total``, the vector's product with the direction, or the token's logit.

    Raises
    ------
    InputError
        If an argument does not fit the run, or the direction is zero or not finite.
    UnsupportedModelError
        As `resid_widgets.direct_logit_attribution`.
    """
    if not isinstance(run, Run):
        raise InputError.about("run", run, "a Run is needed", "Make one first: run = rw.run(model, prompt).")
    model = run.model
    at = Site("resid_post", model.n_layers - 1) if site is None else as_site(site)
    if at.component not in STREAM:
        rule = f"{at.component} is no state of the stream"
        raise InputError.about("site", str(at), rule, f"Use one of {', '.join(STREAM)}.")
    pos = run.pos(-1 if at.pos is None else at.pos)
    at = Site(at.component, run.layer(at.layer), pos)
    writers = writers_before(model, at)
    chosen = layers_of(model, by, layers, writers)
    rows = rows_of_runs([run], [(pos,)])
    stream = rows.at(at.component, at.layer)
    where = f"{at.component}, layer {at.layer}, position {pos}"
    if isinstance(direction, str) or is_whole(direction):
        token = model.token_id(direction)
        label = f"logit of {visible(model.token_strings([token])[0])}"
        read = logit_directions(model, stream, [((token, 1.0),)], label)
        vectors, bias, total, units = read.vectors, read.bias, read.total, "logits"
        asked = logit_lines([(token, 1.0)], read.centred)
        held = f", as the logit lens reads it at {where}"
    else:
        vector = _vector(direction, model)
        vectors, asked = torch.from_numpy(vector).to(stream.device)[None], vector_lines(vector)
        total, bias, units = (stream.double() * vectors).sum(-1), torch.zeros(1, dtype=torch.float64), ""
        label, held = "the direction", f" at {where}"
    parts = parts_along(rows, vectors, by, chosen, writers, run)
    options = {"method": "along", "by": by, "direction": label, "site": str(at)}
    return contributions(
        parts,
        rows.prompts,
        bias.cpu().numpy(),
        total.cpu().numpy(),
        run=run,
        by=by,
        label=label,
        units=units,
        checks=run.checks,
        provenance=with_options(run.provenance, **options),
        title=f"Along {label} · {by}",
        sentence=(
            f"What each {by} has written along {label}{held} ({float(total):.3g}). What lies along a direction need "
            "not be used by anything that reads the stream."
        ),
        script=contributions_code(run, at, (pos,), asked, by, chosen, parts.opened),
    )


def _vector(direction: Any, model: ResidualModel) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = Held(direction, "direction").array
    remedy = f"Give {model.d_model} finite numbers, or a token."
    if array.shape != (model.d_model,):
        raise InputError.about("direction", list(array.shape), f"it is not of shape [{model.d_model}]", remedy)
    if not array.any():
        raise InputError.about("direction", array, "a direction cannot be the zero vector", remedy)
    return array.astype(np.float64)

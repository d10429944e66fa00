"""What can be done to a site, as data: frozen, comparable, and without a model. `resid_widgets.intervene` applies it.

Interventions are applied in the order of the computation (layer by layer; in a layer resid_pre, q, k, v, pattern, z,
attn_out, resid_mid, mlp_post, mlp_out, resid_post), and those of one site in the order in which they are listed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from resid_widgets.errors import InputError
from resid_widgets.held import Captured, Held
from resid_widgets.prompts import read
from resid_widgets.sites import Site, as_site
from resid_widgets.whole import is_whole, whole

OPS = ("zero", "mean", "resample", "noise", "clamp", "set_to", "project_out", "add", "patch")

Prompt = str | tuple[int, ...]
"""A text, or the token ids of one."""


@dataclass(frozen=True)
class Intervention:
    """One change of one site. Made by `zero`, `mean`, `resample`, ... .

    Attributes
    ----------
    op
        One of `OPS`.
    site
        Where.
    options
        Name and value of each parameter that is not at its default, in alphabetical order; all hashable.
    """

    op: str
    site: Site
    options: tuple[tuple[str, Any], ...] = ()

    def option(self, name: str, default: Any = None) -> Any:
        """Return a parameter."""
        return dict(self.options).get(name, default)

    def __str__(self) -> str:
        told = "".join(f", {name}={value}" for name, value in self.options if isinstance(value, int | float))
        return f"{self.op} {self.site}{told}"


def zero(site: Any) -> Intervention:
    """Replace the site by zeros. Off-distribution for most models: `mean` or `resample` is often the fairer question.

    Parameters
    ----------
    site
        A `Site`, or the name of one: ``"blocks.10.hook_resid_post"``, ``"resid_post.10"``.

    Raises
    ------
    InputError
        If `site` is none.
    """
    return _made("zero", site)


def mean(site: Any, over: Any = None) -> Intervention:
    """Replace the site, at each of its positions, by its mean.

    Parameters
    ----------
    over
        None: the mean over the run's own positions, marked ones left out. A prompt or several (of any kind that
        `resid_widgets.collect` takes): the mean over their positions instead, marked ones and padding left out.

    Raises
    ------
    InputError
        If `over` names no prompt, or the site is a pattern (whose rows have no common length).
    """
    _no_pattern("mean", site)
    return _made("mean", site, over=_prompts("over", over))


def resample(site: Any, source: Any, seed: Any = 0) -> Intervention:
    """Replace the site by its value on another prompt.

    One prompt of `source` is drawn. If it has as many tokens as the run, values are taken at the same positions;
    otherwise each position takes those of a position drawn from the unmarked ones.

    Parameters
    ----------
    source
        A prompt or several, of any kind that `resid_widgets.collect` takes.
    seed
        Of a CPU generator: the same on every device.

    Raises
    ------
    InputError
        If `source` names no prompt, or `seed` is no whole number from 0.
    """
    if source is None:
        raise InputError.about("source", source, "resampling needs a source", "Give a prompt or several.")
    return _made("resample", site, source=_prompts("source", source), seed=_seed(seed))


def noise(site: Any, sigma: Any = 1.0, seed: Any = 0) -> Intervention:
    """Add Gaussian noise.

    Parameters
    ----------
    sigma
        In units of the site's standard deviation (of all its numbers) over the run's unmarked positions.
    seed
        Of a CPU generator: the same on every device. One draw covers all positions of the component, so that a
        position gets the same noise whether it is named alone or with all others.

    Raises
    ------
    InputError
        If `sigma` is negative or not finite, or `seed` is no whole number from 0.
    """
    _no_pattern("noise", site)
    value = _number("sigma", sigma)
    if value < 0:
        raise InputError.about(
            "sigma", sigma, "a standard deviation is 0 or more", "Use 1.0 for one of the site's own."
        )
    return _made("noise", site, sigma=value, seed=_seed(seed))


def clamp(site: Any, low: Any = None, high: Any = None) -> Intervention:
    """Keep each number of the site between `low` and `high`; None leaves that side open.

    Raises
    ------
    InputError
        If both are None, one is not finite, or ``low > high``.
    """
    bounds = [None if bound is None else _number(name, bound) for name, bound in (("low", low), ("high", high))]
    if bounds[0] is None and bounds[1] is None:
        raise InputError.about("low, high", (low, high), "at least one bound is needed", "Give low=, high= or both.")
    if None not in bounds and bounds[0] > bounds[1]:  # type: ignore[operator]
        raise InputError.about("low, high", (low, high), "low must not be above high", "Exchange them.")
    return _made("clamp", site, low=bounds[0], high=bounds[1])


def set_to(site: Any, value: Any) -> Intervention:
    """Replace the site by given numbers: one, or an array that fits the site (``[d_model]`` serves all positions).

    Raises
    ------
    InputError
        If `value` holds no finite numbers.
    """
    return _made("set_to", site, value=Held(value))


def project_out(site: Any, direction: Any) -> Intervention:
    """Remove what lies along `direction`: ``x - (x . u) u`` with ``u = direction / |direction|``.

    Raises
    ------
    InputError
        If `direction` is no vector of finite numbers, or has no length.
    """
    _no_pattern("project_out", site)
    return _made("project_out", site, direction=_direction(direction))


def add(site: Any, direction: Any, alpha: Any = 1.0) -> Intervention:
    """Add ``alpha * direction``, with `direction` as it is given, not scaled to unit length.

    Raises
    ------
    InputError
        If `direction` is no vector of finite numbers or has no length, or `alpha` is not finite.
    """
    _no_pattern("add", site)
    return _made("add", site, direction=_direction(direction), alpha=_number("alpha", alpha))


def patch(site: Any, source: Any) -> Intervention:
    """Replace the site by its value in another run of the same model, at the same positions.

    Parameters
    ----------
    source
        A `Run`, whose values are taken now; or a prompt (of any kind that `resid_widgets.run` takes), which is run when
        it is needed.

    Raises
    ------
    InputError
        If `source` is neither.
    """
    site = as_site(site)
    if hasattr(source, "activation") and hasattr(source, "token_ids"):
        values = Held(source.activation(site.component, site.layer))
        plain = source.base is None
        taken = Captured(values, tuple(source.token_ids), source.provenance.weights_hash, plain)
        return _made("patch", site, source=taken)
    prompts = _prompts("source", source)
    if prompts is None or len(prompts) != 1:
        raise InputError.about("source", source, "one run or one prompt is needed", "rw.patch(site, other_run).")
    return _made("patch", site, source=prompts[0])


def as_interventions(given: Any) -> tuple[Intervention, ...]:
    """Return one or several interventions as a tuple.

    Raises
    ------
    InputError
        If something is none.
    """
    items: tuple[Any, ...] = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    for item in items:
        if not isinstance(item, Intervention):
            rule = "interventions are needed"
            raise InputError.about("interventions", item, rule, 'For example rw.zero(rw.Site("mlp_out", layer=1)).')
    return items


def _made(op: str, site: Any, **options: Any) -> Intervention:
    kept = ((name, value) for name, value in sorted(options.items()) if value is not None)
    return Intervention(op, as_site(site), tuple(kept))


def _no_pattern(op: str, site: Any) -> None:
    if as_site(site).component == "pattern":
        rule = f"{op} has no meaning on a pattern, whose rows are as long as the text before them and sum to 1"
        raise InputError.about("site", str(site), rule, "Use zero, set_to, clamp, resample or patch.")


def _prompts(name: str, given: Any) -> tuple[Prompt, ...] | None:
    """Return prompts as hashable data: one string, ids of one, or several of either; without padding."""
    if given is None:
        return None
    if is_whole(given) or isinstance(given, float) or (isinstance(given, list | tuple) and not given):
        rule = "a prompt or several are needed (strings or token ids)"
        raise InputError.about(name, given, rule, "Give at least one.")
    return tuple(prompt.content for prompt in read(name, given).prompts)


def _seed(seed: object) -> int:
    number = whole(seed)
    if number is None or not 0 <= number < 2**63:
        raise InputError.about("seed", seed, "a whole number from 0 is needed", "seed=0 is the default.")
    return number


def _number(name: str, value: object) -> float:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # type: ignore[union-attr]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError.about(name, value, "a number is needed", f"For example {name}=1.0.")
    if not math.isfinite(value):
        raise InputError.about(name, value, "a finite number is needed", f"For example {name}=1.0.")
    return float(value)


def _direction(direction: Any) -> Held:
    held = Held(direction, "direction")
    if held.array.ndim != 1 or held.array.size == 0:
        raise InputError.about("direction", held, "one vector is needed", "Its shape is [d_model] for the stream.")
    if not held.array.any():
        raise InputError.about("direction", held, "it is all zeros, and points nowhere", "Give one with a length.")
    return held

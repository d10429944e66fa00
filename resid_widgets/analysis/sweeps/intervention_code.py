"""A set of interventions as a script: the same number from plain TransformerLens and PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from resid_widgets.analysis.code import boot_code
from resid_widgets.analysis.metrics import Reading
from resid_widgets.analysis.sweeps.sweep_code import metric_code
from resid_widgets.errors import InputError
from resid_widgets.held import Captured, Held
from resid_widgets.interventions import Intervention
from resid_widgets.models.reuse.edits import ORDER, checked_site, prompt_run, unmarked
from resid_widgets.models.runs.run import Run
from resid_widgets.models.tokenize import tokenize
from resid_widgets.results import writable
from resid_widgets.sites import Site

LONG = 16
"""A longer array is read from a file that is written beside the script."""

ARRAYS = "arrays.safetensors"
"""That file's name."""


def intervention_code(run: Run, items: Sequence[Intervention], reading: Reading, number: float) -> str:
    """Return a script that prints the metric of `run` with `items`.

    Arrays of more than `LONG` numbers are read from `ARRAYS`, which `write_script` writes too.
    """
    ordered = sorted(items, key=lambda item: (item.site.layer % run.model.n_layers, ORDER.index(item.site.component)))
    lines = [boot_code(run)]
    if arrays_of(items):
        lines += ["from safetensors.torch import load_file"]
        lines += [f"arrays = load_file({ARRAYS!r})  # written beside this script by save_code(path)"]
    lines += [
        "",
        "def cached(ids):",
        "    with torch.no_grad():",
        f"        logits, cache = bridge.run_with_cache(torch.tensor([list(ids)], device={run.provenance.device!r}))",
        "    return logits, cache",
        "",
        "base_logits, base = cached(tokens[0].tolist())",
        "",
        *metric_code(reading),
    ]
    hooks: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for n, item in enumerate(ordered):
        site = checked_site(run, item.site)
        setup, expression = _replacement(run, item, site, n)
        lines += setup
        names.setdefault(_hook(run, site), f"edit_{len(names)}")
        hooks.setdefault(_hook(run, site), []).extend(_edit(run, site, expression))
    if any(item.site.component == "resid_mid" for item in items):
        lines += ["entering = {}", ""]
    for hook, body in hooks.items():
        lines += [f"def {names[hook]}(value, hook):", "    new = value.clone()", *body, "    return new", ""]
    pairs = [f"({hook!r}, {name})" for hook, name in names.items()]
    middles = sorted({item.site.layer % run.model.n_layers for item in items if item.site.component == "resid_mid"})
    for layer in middles:
        entering = run.model.hook_name("resid_pre", layer)
        keep = f"lambda value, hook: entering.__setitem__({layer}, value)"
        pairs.append(f"({entering!r}, {keep})")  # after the edits of the same hook point
    lines += [
        "with torch.no_grad():",
        f"    logits = bridge.run_with_hooks(tokens, fwd_hooks=[{', '.join(pairs)}])",
        f"number = metric(logits)  # {number:.6g}",
        "print(number)",
        "",
    ]
    return "\n".join(lines)


def arrays_of(items: Sequence[Intervention]) -> dict[str, np.ndarray]:
    """Return the arrays that a script reads from its file, by name."""
    found = {}
    for item in items:
        for _, value in item.options:
            held = value.values if isinstance(value, Captured) else value
            if isinstance(held, Held) and not _rebuilt(value) and (held.array.size > LONG or held is not value):
                found[f"a{held.digest}"] = held.array.copy()
    return found


def write_script(path: str | Path, script: str, items: Sequence[Intervention]) -> Path:
    """Write a script, and the arrays that it reads beside it, and return the script's path.

    Arrays are named by their content, so the scripts of one folder share one file: what is in it already stays.

    Raises
    ------
    InputError
        If the folder does not exist, or the script would have the arrays' name.
    """
    path = writable(path)
    if path.name == ARRAYS:
        raise InputError.about("path", str(path), "the script's arrays have that name", "For example 'ablation.py'.")
    arrays = arrays_of(items)
    if arrays:
        file = path.with_name(ARRAYS)
        known = load_file(file) if file.exists() else {}
        part = path.with_name(f".{ARRAYS}.{os.getpid()}.part")
        try:
            save_file(known | arrays, part)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    path.write_text(script, encoding="utf-8", newline="\n")
    return path


def _rebuilt(value: object) -> bool:
    """Whether the script makes a value again, from its prompt."""
    return isinstance(value, Captured) and value.plain


def _hook(run: Run, site: Site) -> str:
    # TransformerLens' hook_resid_mid is only what the MLP reads: the stream is changed where attention writes to it.
    return run.model.hook_name("attn_out" if site.component == "resid_mid" else site.component, site.layer)


def _where(site: Site, batch: bool = True) -> str:
    """Return the index of a site, after that of the batch."""
    pos = ":" if site.pos is None else f"{site.pos}:{site.pos + 1}"
    head = ":" if site.head is None else str(site.head)
    last = {"pattern": f"{head}, {pos}", "mlp_post": f"{pos}, {':' if site.neuron is None else site.neuron}"}
    inner = last.get(site.component, f"{pos}, {head}" if site.component in ("q", "k", "v", "z") else pos)
    return f"[0, {inner}]" if batch else f"[{inner}]"


def _all(site: Site) -> str:
    """Return the index of a site at all positions."""
    return _where(Site(site.component, site.layer, None, site.head, site.neuron))


def _source(run: Run, site: Site, cache: str) -> str:
    """Return a component out of a cache."""
    if site.component == "resid_mid":
        parts = [f"{cache}[{run.model.hook_name(part, site.layer)!r}]" for part in ("resid_pre", "attn_out")]
        return f"({' + '.join(parts)})"
    return f"{cache}[{run.model.hook_name(site.component, site.layer)!r}]"


def _edit(run: Run, site: Site, expression: str) -> list[str]:
    """Return the lines that put `expression`, of the present numbers ``x``, into a hook's ``new``."""
    where = _where(site)
    if site.component == "resid_mid":
        return [
            f"    middle = entering[{site.layer}] + new",
            f"    x = middle{where}",
            f"    middle{where} = {expression}",
            f"    new = middle - entering[{site.layer}]",
        ]
    return [f"    x = new{where}", f"    new{where} = {expression}"]


def _literal(held: Held) -> str:
    if held.array.size > LONG:
        return f"arrays['a{held.digest}']"
    return f"torch.tensor({held.array.tolist()!r})"


def _ids(run: Run, prompt: Any) -> list[int]:
    given = list(prompt) if isinstance(prompt, tuple) else prompt
    model = run.model
    bos = run.provenance.options["bos"] if isinstance(prompt, str) else None
    return list(tokenize(model.tokenizer, given, bos=bos, d_vocab=model.d_vocab, n_ctx=model.n_ctx).ids)


def _replacement(run: Run, item: Intervention, site: Site, n: int) -> tuple[list[str], str]:
    """Return the lines that prepare an intervention, and the new numbers as an expression of the present ``x``."""
    here = _positions(site)
    match item.op:
        case "zero":
            return [], "0"
        case "clamp":
            return [], f"x.clamp({item.option('low')}, {item.option('high')})"
        case "set_to":
            return [], f"{_literal(item.option('value'))}.to(x)"
        case "add":
            return [], f"x + {item.option('alpha')!r} * {_literal(item.option('direction'))}.to(x)"
        case "project_out":
            unit = f"unit_{n}"
            setup = [f"{unit} = {_literal(item.option('direction'))}.double()", f"{unit} = {unit} / {unit}.norm()"]
            return setup, f"x - (x.double() @ {unit})[..., None].to(x) * {unit}.to(x)"
        case "mean":
            prompts = item.option("over")
            if prompts is None:
                rows = f"{_source(run, site, 'base')}{_all(site)}[{unmarked(run)}]"
                return [f"mean_{n} = {rows}.double().mean(0)"], f"mean_{n}.to(x)"
            pieces = []
            setup = []
            for k, prompt in enumerate(prompts):
                other = prompt_run(run, prompt, site.component)
                setup.append(f"_, over_{n}_{k} = cached({list(other.token_ids)})")
                pieces.append(f"{_source(run, site, f'over_{n}_{k}')}{_all(site)}[{unmarked(other)}]")
            return [*setup, f"mean_{n} = torch.cat([{', '.join(pieces)}]).double().mean(0)"], f"mean_{n}.to(x)"
        case "noise":
            base, seed = _source(run, site, "base"), item.option("seed", 0)
            setup = [
                f"spread_{n} = {base}{_all(site)}[{unmarked(run)}].double().std(correction=0)",
                f"generator = torch.Generator().manual_seed({seed})",
                f"drawn = torch.randn({base}[0].shape, generator=generator, dtype=torch.float32)",
                f"noise_{n} = {item.option('sigma')!r} * spread_{n} * drawn{_all(site).replace('[0, ', '[')}",
            ]
            return setup, f"x + noise_{n}{here}.to(x)"
        case "patch":
            source = item.option("source")
            if isinstance(source, Captured) and not source.plain:
                return [], f"arrays['a{source.values.digest}']{_where(site).replace('[0, ', '[')}.to(x)"
            ids = list(source.token_ids) if isinstance(source, Captured) else _ids(run, source)
            setup = [f"_, source_{n} = cached({ids})"]
            return setup, f"{_source(run, site, f'source_{n}')}{_where(site)}"
    return _resampled(run, item, site, n)


def _positions(site: Site) -> str:
    return "" if site.pos is None else f"[{site.pos}:{site.pos + 1}]"


def _resampled(run: Run, item: Intervention, site: Site, n: int) -> tuple[list[str], str]:
    """The draws of resample, as `resid_widgets.models.reuse.edits` makes them."""
    prompts = [_ids(run, prompt) for prompt in item.option("source")]
    setup = [
        f"prompts = {prompts}",
        f"generator = torch.Generator().manual_seed({item.option('seed', 0)})",
        "drawn = prompts[int(torch.randint(len(prompts), (), generator=generator))]",
        f"_, source_{n} = cached(drawn)",
    ]
    lengths = {len(prompt) for prompt in prompts}
    if lengths == {run.n_pos}:
        return setup, f"{_source(run, site, f'source_{n}')}{_where(site)}"
    pools = {tuple(ids): unmarked(prompt_run(run, tuple(ids), site.component)) for ids in prompts}
    setup += [
        f"pool = torch.tensor({pools}[tuple(drawn)])",
        f"places = pool[torch.randint(len(pool), ({run.n_pos},), generator=generator)]",
        f"values_{n} = {_source(run, site, f'source_{n}')}{_all(site)}",
        f"values_{n} = values_{n} if len(drawn) == {run.n_pos} else values_{n}[places]",
    ]
    return setup, f"values_{n}{_positions(site)}"

"""Sweeps as scripts: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from typing import Any

from resid_widgets.analysis.code import boot_code, tokens_literal
from resid_widgets.analysis.metrics import Reading
from resid_widgets.analysis.sweeps.cells import Cells
from resid_widgets.models.runs.run import Run

_WHERE = {
    ("layer", "pos"): "[:, pos]",
    ("layer", "head"): "[:, :, head]",
    ("layer", "kv_head"): "[:, :, kv_head]",
    ("layer", "pos", "head"): "[:, pos, head]",
    ("layer", "pos", "kv_head"): "[:, pos, kv_head]",
    ("layer", "neuron"): "[:, :, neuron]",
}
_PATTERN_WHERE = {("layer", "head"): "[:, head]", ("layer", "pos", "head"): "[:, head, pos]"}


def metric_code(reading: Reading) -> list[str]:
    """Return a function of logits ``[1, pos, d_vocab]``; kl_to_base needs ``base_logits`` defined before."""
    at, ids, weights = f"logits[0, {list(reading.positions)}].double()", list(reading.token_ids), reading.metric.weights
    body = {
        "logit_diff": "(at[:, {0}] - at[:, {1}]).mean()",
        "logit": "at[:, {0}].mean()",
        "weighted_logits": f"(at[:, {ids}] * at.new_tensor({list(weights)})).sum(-1).mean()",
        "log_prob": "at.log_softmax(-1)[:, {0}].mean()",
        "prob": "at.softmax(-1)[:, {0}].mean()",
        "rank": "(at > at[:, [{0}]]).sum(-1).double().mean()",
        "kl_to_base": "(base.exp() * (base - at.log_softmax(-1))).sum(-1).mean()",
    }[reading.metric.kind].format(*reading.token_ids)
    lines = ["def metric(logits):", f"    at = {at}"]
    if reading.metric.kind == "kl_to_base":
        lines.append(f"    base = base_logits[0, {list(reading.positions)}].double().log_softmax(-1)")
    return [*lines, f"    return float({body})", ""]


def _where(cells: Cells) -> str:
    return (_PATTERN_WHERE if cells.component == "pattern" else _WHERE)[cells.dims]


def _loop(run: Run, cells: Cells, value: str) -> list[str]:
    """Return nested loops that write ``new`` into each cell and fill ``raw``."""
    component, where = cells.component, _where(cells)
    middle = component == "resid_mid"
    name = run.model.hook_name("attn_out" if middle else component, 0).replace(".0.", ".{layer}.")
    loops = [f"{dim}s = {list(of)}" for dim, of in zip(cells.dims, cells.coords, strict=True)]
    sizes = ", ".join(f"len({dim}s)" for dim in cells.dims)
    product = ", ".join(f"enumerate({dim}s)" for dim in cells.dims)
    targets = ", ".join(f"({'ijk'[n]}, {dim})" for n, dim in enumerate(cells.dims))
    index = ", ".join("ijk"[n] for n in range(len(cells.dims)))
    edit = [
        "    def hook(value, hook):",
        *(
            [
                "        new = cache[f'blocks.{layer}.hook_resid_pre'] + value  # the stream between attention and MLP",
                f"        new{where} = {value}",
                "        return new - cache[f'blocks.{layer}.hook_resid_pre']",
            ]
            if middle
            else ["        new = value.clone()", f"        new{where} = {value}", "        return new"]
        ),
    ]
    return [
        *loops,
        f"raw = torch.zeros({sizes}, dtype=torch.float64)",
        f"for {targets} in itertools.product({product}):",
        *edit,
        "    with torch.no_grad():",
        f"        logits = bridge.run_with_hooks(tokens, fwd_hooks=[(f'{name}', hook)])",
        f"    raw[{index}] = metric(logits)",
    ]


def ablation_code(run: Run, reading: Reading, cells: Cells, how: str, options: dict[str, Any]) -> str:
    """Return a script that makes ``values``, for zero and mean ablation; else a comment that says why not."""
    if how not in ("zero", "mean") or options.get("over") is not None or run.base is not None:
        return f"# how={how!r} with these options: use rw.AblationExplorer(run, metric).code() for one cell of it.\n"
    where, component = _where(cells), cells.component
    kept = [pos for pos in range(run.n_pos) if pos not in run.marked] or list(range(run.n_pos))
    source = f"cache[f'{run.model.hook_name(component, 0).replace('.0.', '.{layer}.')}']"
    if component == "resid_mid":
        source = "(cache[f'blocks.{layer}.hook_resid_pre'] + cache[f'blocks.{layer}.hook_attn_out'])"
    last = where.replace("[:, pos", f"[:, {kept}").replace("[:, :,", f"[:, {kept},")
    value = "0" if how == "zero" else f"{source}{last}.mean(1{', keepdim=True' if 'pos' not in cells.dims else ''})"
    return "\n".join(
        [
            "import itertools",
            boot_code(run),
            "with torch.no_grad():",
            "    base_logits, cache = bridge.run_with_cache(tokens)",
            "",
            *metric_code(reading),
            *_loop(run, cells, value),
            "values = raw - metric(base_logits)",
            "",
        ]
    )


def patch_code(base: Run, source: Run, reading: Reading, cells: Cells, clean: float, corrupt: float) -> str:
    """Return a script that makes ``raw`` and ``values`` of a patching sweep."""
    name = base.model.hook_name(cells.component, 0).replace(".0.", ".{layer}.")
    value = f"source[f'{name}']{_where(cells)}"
    if cells.component == "resid_mid":
        value = (
            f"(source[f'blocks.{{layer}}.hook_resid_pre'] + source[f'blocks.{{layer}}.hook_attn_out']){_where(cells)}"
        )
    return "\n".join(
        [
            "import itertools",
            boot_code(base),
            f"source_tokens = {tokens_literal(source)}",
            "with torch.no_grad():",
            "    base_logits, cache = bridge.run_with_cache(tokens)",
            "    _, source = bridge.run_with_cache(source_tokens)",
            "",
            *metric_code(reading),
            *_loop(base, cells, value),
            f"values = (raw - {corrupt!r}) / ({clean!r} - {corrupt!r})",
            "",
        ]
    )

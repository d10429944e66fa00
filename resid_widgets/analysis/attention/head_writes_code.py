"""What a head writes as a script, with TransformerLens and PyTorch alone."""

from __future__ import annotations

from numpy.typing import NDArray

from resid_widgets.analysis.code import setup_code
from resid_widgets.models.runs.run import Run


def head_writes_code(run: Run, layer: int, head: int, pos: int, key_pos: int | None, tokens: NDArray) -> str:
    """Return the script; of an intervened run it is that of the run without, and says so."""
    model = run.model
    wanted = ("z", "pattern", "v")
    z, pattern, v = (model.hook_name(component, layer) for component in wanted)
    final = model.hook_name("resid_post", model.n_layers - 1)
    note = "" if run.base is None else f"# without the interventions: {', '.join(map(str, run.interventions))}\n"
    lines = [
        f"z = cache[{z!r}]",
        "n_heads = bridge.cfg.n_heads",
        "z = z.reshape(1, tokens.shape[1], n_heads, -1)[0].double()",
        "part = torch.zeros_like(z)",
    ]
    if key_pos is None:
        lines.append(f"part[{pos}, {head}] = z[{pos}, {head}]")
    else:
        lines += [
            f"A = cache[{pattern!r}][0, {head}].double()",
            f"v = cache[{v!r}].reshape(1, tokens.shape[1], -1, z.shape[-1])[0].double()",
            f"v = v.repeat_interleave(n_heads // v.shape[1], dim=1)[:, {head}]",
            f"part[{pos}, {head}] = A[{pos}, {key_pos}] * v[{key_pos}]",
        ]
    lines += [
        f"project = bridge.blocks[{layer}].attn.o",
        "with torch.no_grad():",
        "    inner = part.flatten(1).to(bridge.cfg.dtype)[None]",
        "    written = (project(inner) - project(torch.zeros_like(inner)))[0].double()  # what is added to the stream",
        f"    x = cache[{final!r}][0, {pos}].double()  # the final stream, at whose scale the norm is held",
        "    centred = hasattr(bridge.ln_final.original_component, 'bias')  # LayerNorm; else RMSNorm",
        "    if centred:",
        "        x, written = x - x.mean(), written - written.mean(-1, keepdim=True)",
        "    eps = getattr(bridge.cfg, 'eps', 1e-5)",
        f"    normed = bridge.ln_final.weight.double() * written[{pos}] / (x.square().mean() + eps).sqrt()",
        "    logits = bridge.W_U.double().T @ normed",
        f"print(float(written[{pos}].norm()))",
        f"print((logits - logits.mean())[{tokens.tolist()}].tolist())",
    ]
    return note + setup_code(run, [z, pattern, v, final]) + "\n".join(lines) + "\n"

"""Neurons as a script: the same numbers from plain TransformerLens and PyTorch."""

from __future__ import annotations

from typing import Any


def patterns_code(patterns: Any) -> str:
    """Return a script that makes max, mean and active of `NeuronPatterns` again."""
    names = [patterns.model.hook_name(patterns.component, layer) for layer in patterns.layers]
    counted = [
        [pos for pos in range(len(tokens.ids)) if pos not in patterns.kept.marked[number]]
        for number, tokens in enumerate(patterns.prompts.tokens)
    ]
    tokens = f"torch.tensor([ids], device={patterns.provenance.device!r})"
    lines = [
        patterns.boot,
        f"prompts = {[list(tokens.ids) for tokens in patterns.prompts.tokens]}",
        f"counted = {counted}  # without each prompt's first position, and massive ones",
        f"names = {names}",
        f"neurons = {list(patterns.neurons)}",
        "read = []",
        "for ids, positions in zip(prompts, counted):",
        "    with torch.no_grad():",
        f"        _, cache = bridge.run_with_cache({tokens}, names_filter=lambda name: name in names)",
        "    read.append(torch.stack([cache[name][0][positions][:, neurons] for name in names]).float())",
        "x = torch.cat(read, dim=1)  # [layer, position, neuron]",
        "largest, mean, active = x.amax(1), x.mean(1), (x > 0).float().mean(1)",
        "",
    ]
    return "\n".join(lines)

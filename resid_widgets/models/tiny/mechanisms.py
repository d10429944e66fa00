"""The textbook pictures inside a tiny model: which heads look where, and where a name's information stands.

Plain hooks on the Hugging Face model, so that the model card does not rest on the tools it is to teach.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaForCausalLM

from resid_widgets.models.ambient import plain_state
from resid_widgets.models.tiny.choices import Choices
from resid_widgets.models.tiny.evaluate import held_out
from resid_widgets.models.tiny.tokenizer import BOS, word_ids
from resid_widgets.models.tiny.words import CONTENT


@plain_state()
def head_scores(
    model: LlamaForCausalLM, n: int = 64, length: int = 12
) -> tuple[Float[Tensor, "layer head"], Float[Tensor, "layer head"]]:
    """Mean attention to the token before, and to the token after the same word's first time, on repeated words.

    Returns
    -------
    previous, induction
        ``[layer, head]`` each: shares of attention, averaged over the second halves of `n` sequences of `length`
        words said twice. 1 is a perfect previous-token head, or induction head.
    """
    choose, ids = Choices.seeded("heads"), word_ids()
    rows = []
    for _ in range(n):
        said = choose.several(CONTENT, length)
        rows.append([ids[BOS], ids[said[0]], *(ids[f" {word}"] for word in (*said[1:], *said))])
    used = model.config._attn_implementation or "eager"
    model.set_attn_implementation("eager")
    patterns = model(input_ids=torch.tensor(rows), output_attentions=True, use_cache=False).attentions
    model.set_attn_implementation(used)
    query = torch.arange(length + 1, 2 * length + 1)
    pattern = torch.stack(patterns)[:, :, :, query]  # [layer, sequence, head, query, key]
    each = torch.arange(length)
    previous = pattern[..., each, query - 1].mean((1, 3))
    induction = pattern[..., each, query - length + 1].mean((1, 3))
    return previous, induction


@plain_state()
def name_patching(model: LlamaForCausalLM, tokenizer: Any, n: int = 100) -> Float[Tensor, "layer place"]:
    """Denoise one position of indirect-object sentences and measure how much of the clean answer comes back.

    Returns
    -------
    recovery
        ``[layer, place]``, the places being the repeated name, the positions between it and the last, and the last.
        Row L patches the stream as it enters layer L; one more row patches it as it leaves the last layer.
        ``(LD - LD_corrupt) / (LD_clean - LD_corrupt)`` of the means over `n` held-out sentences: 1 is clean behaviour.
    """
    pairs, ids = held_out("ioi", n), word_ids()
    clean = tokenizer([drawn.prompt for drawn in pairs], padding=True, return_tensors="pt")
    corrupt = tokenizer([drawn.corrupt for drawn in pairs], return_tensors="pt", padding=True)["input_ids"]
    last = clean["attention_mask"].sum(1) - 1
    name = (clean["input_ids"] != corrupt).int().argmax(1)
    rows = torch.arange(n)
    column = torch.arange(corrupt.shape[1])
    between = (column > name[:, None]) & (column < last[:, None])
    answer, foil = (torch.tensor([ids[getattr(drawn, which)] for drawn in pairs]) for which in ("answer", "foil"))

    def difference(tokens: Tensor) -> float:
        logits = model(input_ids=tokens, use_cache=False).logits[rows, last]
        return (logits[rows, answer] - logits[rows, foil]).mean().item()

    def patched(module: torch.nn.Module, source: Tensor, where: Tensor) -> float:
        def put(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (torch.where(where[..., None], source, args[0]), *args[1:])

        with module.register_forward_pre_hook(put):
            return difference(corrupt)

    modules = [*model.model.layers, model.model.norm]  # each reads the stream
    stream: list[Tensor] = []
    handles = [module.register_forward_pre_hook(lambda _, args: stream.append(args[0])) for module in modules]
    high = difference(clean["input_ids"])
    for handle in handles:
        handle.remove()
    low = difference(corrupt)
    places = [column == name[:, None], between, column == last[:, None]]
    written = zip(modules, stream, strict=True)
    found = [[patched(module, source, where) for where in places] for module, source in written]
    return (torch.tensor(found) - low) / (high - low)

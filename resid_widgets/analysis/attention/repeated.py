"""Random tokens said twice: what heads are found on; and how well a model does where tokens repeat."""

from __future__ import annotations

import random
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resid_widgets.errors import InputError
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.runs.run import Run
from resid_widgets.models.tiny.words import CONTENT


def repeated_tokens(model: ResidualModel, length: int, seed: int) -> list[int]:
    """Return BOS, where the tokenizer adds one, and `length` different tokens in random order, twice.

    Common English words, where enough of them are single tokens; else any words; else any tokens but special ones.

    Raises
    ------
    InputError
        If they are more than fit into the context, or than there are.
    """
    tokenizer = model.tokenizer
    begin = [int(tokenizer.bos_token_id)] if model.adds_bos and tokenizer.bos_token_id is not None else []
    pools = _pools(model)
    most = max(map(len, pools))
    if model.n_ctx is not None:
        most = min(most, (model.n_ctx - len(begin)) // 2)
    if length > most:
        rule = f"{model.name} has room for {most} different tokens, said twice"
        raise InputError.about("length", length, rule, f"Use length={most} or less.")
    pool = next(pool for pool in pools if len(pool) >= length)
    drawn = random.Random(f"repeated tokens {seed}").sample(pool, length)
    return [*begin, *drawn, *drawn]


def _pools(model: ResidualModel) -> list[list[int]]:
    """Return what can be drawn from, the first choice first."""
    if model.tokenizer is None:
        return [list(range(model.d_vocab))]
    special = set(getattr(model.tokenizer, "all_special_ids", ()))
    known = [token for token in range(min(model.d_vocab, len(model.tokenizer))) if token not in special]
    texts = dict(zip(known, model.token_strings(known), strict=True))
    words = [token for token, text in texts.items() if text[:1] == " " and text[1:].isalpha()]
    common = {f" {word}" for word in CONTENT}
    return [[token for token in words if texts[token] in common], words, known]


def repeating_positions(token_ids: tuple[int, ...]) -> list[int]:
    """Return the positions whose next token is the one that came after an earlier occurrence of the same token."""
    seen: dict[int, set[int]] = {}
    found = []
    for pos, (token, following) in enumerate(pairwise(token_ids)):
        if following in seen.get(token, ()):
            found.append(pos)
        seen.setdefault(token, set()).add(following)
    return found


def loss_at(
    run: Run, positions: list[int], final: Float[Tensor, "read d_model"], following: Int[Tensor, " read"]
) -> float:
    """Return the mean loss, in nats, of the tokens that follow `positions`, from the final stream there."""
    step = max(1, 2**24 // run.model.d_vocab)
    total = 0.0
    for first in range(0, len(positions), step):
        logits = run.model.unembed(final[first : first + step]).double()
        wanted = following[first : first + step].to(logits.device)
        total += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
    return total / len(positions)

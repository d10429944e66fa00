"""Real runs of tiny random models, and a way to put chosen numbers in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from resid_widgets.models.model import ResidualModel
    from resid_widgets.models.runs.run import Run

IDS = [1, 5, 9, 20, 33, 4, 60]  # 7 positions in 4 layers: a transposed picture would not fit
# Texts that break axes, tables and files; the ids are their places in this list.
WORDS = [
    "<pad>",
    "<bos>",
    "<unk>",
    " Mary",
    "Mary",
    " gave",
    "\n",
    "\t",
    " \u200b",
    "<script>alert(1)</script>",
    "$x_1^2$",
    '"quoted", with comma',
    "\u202eabc",
    " שלום",
    "👨\u200d👩",
    "=1+1",
]


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ResidualModel]:
    """Return a function from a family to a tiny random model (ids only unless a tokenizer is given)."""
    from resid_widgets.models.loading.load_model import load_model
    from tests.architectures import build

    made: dict[Any, ResidualModel] = {}

    def make(family: str, tokenizer: Any = None, dtype: str | None = None) -> ResidualModel:
        key = (family, id(tokenizer), dtype)
        if key not in made:
            made[key] = load_model((build(family), tokenizer), dtype=dtype)
        return made[key]

    return make


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A word-level tokenizer whose words carry their spaces, odd ones included."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = WORDS + [f" w{n}" for n in range(len(WORDS), 97)]
    raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^ ]+"), behavior="isolated")
    raw.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<bos>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def llama_run(make_model: Callable[..., ResidualModel]) -> Run:
    """Seven tokens through a random Llama without tokenizer."""
    from resid_widgets.models.runs.run import run

    return run(make_model("llama"), IDS)


@pytest.fixture(scope="session")
def worded(make_model: Callable[..., ResidualModel], tokenizer: Any) -> ResidualModel:
    """A random Llama whose tokenizer knows `WORDS`."""
    return make_model("llama", tokenizer)


@pytest.fixture(scope="session")
def worded_run(worded: ResidualModel) -> Run:
    """Two words through it."""
    from resid_widgets.models.runs.run import run

    return run(worded, " Mary gave")


@pytest.fixture
def edited() -> Callable[..., Run]:
    """Return a function that copies a run and replaces one layer's vectors by what a function makes of them."""

    def edit(run: Run, component: str, layer: int, change: Callable[[Tensor], Tensor]) -> Run:
        clone = copy.copy(run)
        clone._recorded = dict(run._recorded)
        clone._recorded[component, layer] = change(run.tensor(component, layer).clone())
        if component == "resid_post":
            clone._norms = run._norms.clone()
            clone._norms[layer] = clone._recorded[component, layer].float().norm(dim=-1)
        clone.__dict__.pop("marked", None)
        return clone

    return edit

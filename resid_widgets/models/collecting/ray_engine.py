"""The engine for a Ray cluster: the same batches on several workers, each with a model of its own, the same bytes.

A worker is told how to build the model (its config and weights, as JSON and safetensors), builds it, and must give the
bits of the model here on a few tokens before it is used. Batches come back in order, so that they are put away as those
of the local engine are.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from resid_widgets.errors import InputError, UnsupportedModelError
from resid_widgets.models.ambient import plain_state
from resid_widgets.models.bare import BareModel
from resid_widgets.models.collecting.batch_plan import Plan, digest
from resid_widgets.models.collecting.batches import Place, place_name, read_batch
from resid_widgets.models.model import ResidualModel
from resid_widgets.models.structure import probe_ids


class RayEngine:
    """Runs the batches of a plan on a Ray cluster; where Ray is not running, one is started on this machine.

    Attributes
    ----------
    flying
        How many batches are under way at once, at most.

    Raises
    ------
    InputError
        If Ray is not installed, or the model was changed after loading in a way that its weights do not show.
    """

    def __init__(self, model: ResidualModel, plan: Plan, places: Sequence[Place], workers: int | None) -> None:
        self._ray = _ray()
        if model.folded:
            rule = "TransformerLens has folded its weights, and a worker cannot build that"
            raise InputError.about("engine", "ray", rule, "Use engine='local', or load the model again.")
        self._model, self._plan, self._places, self._workers = model, plan, list(places), workers
        self.flying = 2 * (workers or os.cpu_count() or 1)

    def batches(self, start: int, weights_hash: str) -> Generator[tuple[int, dict[Place, Tensor]], None, None]:
        """Run the batches from number `start` on, and give each with what it gave, in order."""
        numbers = deque(range(start, len(self._plan.batches)))
        if not numbers:
            return
        with _cluster(self._ray) as cpus:
            threads = torch.get_num_threads()
            wanted = self._workers or max(1, int(cpus // threads))
            workers = self._start(min(wanted, len(numbers)), threads, min(float(threads), cpus), weights_hash)
            flying: deque[tuple[int, Any]] = deque()
            try:
                while numbers or flying:
                    while numbers and len(flying) < min(2 * len(workers), self.flying):
                        n = numbers.popleft()
                        # One after the other in turn: a worker gets its next batch while it works on this one.
                        worker = workers[(n - start) % len(workers)]
                        flying.append((n, worker.read.remote(self._plan.rows(n), self._plan.kept(n))))
                    n, answer = flying.popleft()
                    found = load(self._get(answer))
                    yield n, {place: found[place_name(place)] for place in self._places}
            finally:
                for worker in workers:
                    self._ray.kill(worker)

    def _start(self, count: int, threads: int, cpus: float, weights_hash: str) -> list[Any]:
        """Start workers, and prove that each computes what the model here does."""
        config, weights = packed(self._model)
        shared = self._ray.put(weights)
        gpus = 1 if self._model.device.type == "cuda" else 0
        remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus)(Worker)
        workers = [remote.remote(config, shared, self._places, weights_hash, threads) for _ in range(count)]
        expected = sample_digest(self._model, self._places, weights_hash)
        for answer in [worker.sample.remote() for worker in workers]:
            if self._get(answer) != expected:
                rule = (
                    "a worker's model gives other numbers than the model here: it was changed after loading, or runs \
on another kind of machine"
                )
                raise InputError.about("engine", "ray", rule, "Use engine='local', or load the model again.")
        return workers

    def _get(self, answer: Any) -> Any:
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, InputError | UnsupportedModelError):
                raise error.cause from None
            raise


class Worker:
    """What runs in a worker's process: a model of its own."""

    def __init__(self, config: str, weights: bytes, places: list[Place], weights_hash: str, threads: int) -> None:
        torch.set_num_threads(threads)  # the order of summing depends on it
        self._model = unpacked(config, weights)
        self._places, self._weights_hash = places, weights_hash

    def sample(self) -> str:
        """Return a fingerprint of what the model computes."""
        return sample_digest(self._model, self._places, self._weights_hash)

    def read(self, rows: list[tuple[int, ...]], kept: list[tuple[int, ...]]) -> bytes:
        """Run one batch."""
        found = read_batch(self._model, rows, kept, self._places, self._weights_hash)
        return save({place_name(place): value.contiguous() for place, value in found.items()})


def packed(model: ResidualModel) -> tuple[str, bytes]:
    """Return all that is needed to build the model anew: config as JSON; parameters and buffers as safetensors.

    Raises
    ------
    InputError
        If its class is not one of transformers' own.
    """
    import transformers

    root: Any = BareModel(model).root
    kind = type(root).__name__
    if getattr(transformers, kind, None) is not type(root):
        rule = f"a worker cannot build a {kind}, which is no class of transformers"
        raise InputError.about("engine", "ray", rule, "Use engine='local'.")
    about = {
        "class": kind,
        "config": root.config.to_dict() | {"model_type": root.config.model_type},
        "name": model.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
    }
    seen: set[tuple[int, ...]] = set()
    tensors = {}
    for name, tensor in [*root.named_parameters(), *root.named_buffers()]:  # each once, tied ones too
        key = tensor.data_ptr(), *tensor.shape, *tensor.stride()
        if tensor.numel() == 0 or key not in seen:
            seen.add(key)
            tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return json.dumps(about, default=str), save(tensors)


@plain_state()
def unpacked(config: str, weights: bytes) -> ResidualModel:
    """Build the model that `packed` was given."""
    import transformers

    from resid_widgets.models.loading.load_model import load_model

    about = json.loads(config)
    kind: Any = getattr(transformers, about["class"])
    made = transformers.AutoConfig.for_model(**about["config"])
    dtype = getattr(torch, about["dtype"])
    hf_model = kind._from_config(made, attn_implementation="eager", dtype=dtype).eval()
    places = dict([*hf_model.named_parameters(), *hf_model.named_buffers()])
    for name, value in load(bytes(weights)).items():
        if name in places and places[name].shape == value.shape:
            places[name].data = value.clone()
    hf_model.tie_weights()
    model = load_model((hf_model.to(about["device"]), None), copy=False, progress=False)
    return ResidualModel(model.bridge, tokenizer=None, name=about["name"])


def sample_digest(model: ResidualModel, places: Sequence[Place], weights_hash: str) -> str:
    """Return a fingerprint of what a model computes at `places` of a few tokens, to the bit; "" of another model."""
    if model.weights_hash != weights_hash:
        return ""
    ids = probe_ids(model.d_vocab, model.n_ctx)
    found = read_batch(model, [ids, ids], [range(len(ids))] * 2, places, weights_hash)
    return digest(b"".join(found[place].contiguous().view(torch.uint8).numpy().tobytes() for place in places))


def _ray() -> Any:
    try:
        # Nobody is told that it is used.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise InputError.about(
            "engine", "ray", "Ray is not installed", "pip install 'resid-widgets[ray]', or use engine='local'."
        ) from error
    return ray


@contextmanager
def _cluster(ray: Any) -> Iterator[float]:
    """Give the number of processors of the cluster; one that was started for this is stopped again."""
    mine = not ray.is_initialized()
    if mine:
        # On this machine alone: without an address it would listen on the network.
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
    try:
        yield float(ray.cluster_resources().get("CPU", 1.0))
    finally:
        if mine:
            ray.shutdown()

"""Clicks over a real kernel's sockets, on its main thread and on a subshell, while a cell runs and while none does."""

from __future__ import annotations

import json
import struct
from itertools import count
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

numbers = count(1)


@pytest.fixture(params=["main", "subshell"])
def widget(kernel, request) -> tuple[Any, str]:
    """A kernel with a fresh widget `w`, and its comm; messages go to the main shell or to a subshell."""
    kernel.subshell = None
    if request.param == "subshell":
        if "kernel subshells" not in kernel.client.kernel_info(reply=True, timeout=60)["content"].get(
            "supported_features", []
        ):
            pytest.skip("this ipykernel has no subshells")
        kernel.open_subshell()
    comm = json.loads(kernel.run("w = rw.ActivationHeatmap(run)\ntell(comm=w.model_id)"))["comm"]
    return kernel, comm


def ask(kernel: Any, comm: str, **content: Any) -> dict[str, Any]:
    number = next(numbers)
    kernel.post(comm, {"id": number, **content})
    return kernel.answer(comm, number)


def test_a_click_is_answered_and_python_has_the_selection(widget):
    kernel, comm = widget
    assert ask(kernel, comm, kind="select", at={"layer": 2, "pos": 3})["kind"] == "done"
    assert kernel.state(comm)["selection"] == {"layer": 2, "pos": 3}
    assert json.loads(kernel.run("tell(at=[w.layer, w.pos])")) == {"at": [2, 3]}


def test_a_statistic_chosen_in_the_browser_reaches_python(widget):
    kernel, comm = widget
    assert ask(kernel, comm, kind="set", name="stat", value="kurtosis")["kind"] == "done"
    assert json.loads(kernel.run("tell(stat=w.result.stat)")) == {"stat": "kurtosis"}
    assert "kurtosis" in kernel.state(comm)["frame"]["title"]


def test_an_error_in_a_callback_is_answered_and_the_next_click_works(widget):
    kernel, comm = widget
    kernel.run("def broken(change): raise RuntimeError('my own mistake')\nw.observe(broken, 'layer')")
    answer = ask(kernel, comm, kind="select", at={"layer": 1, "pos": 1})
    assert answer["kind"] == "error"
    assert "my own mistake" in answer["text"]
    assert kernel.state(comm)["status"]["state"] == "error"
    kernel.run("w.unobserve(broken, 'layer')")
    assert ask(kernel, comm, kind="select", at={"layer": 2, "pos": 2})["kind"] == "done"


def test_a_large_picture_comes_by_message_with_its_bytes(widget):
    kernel, _ = widget
    comm = json.loads(
        kernel.run(
            "from resid_widgets.widgets.shell import frame\nlimit, frame.TRAIT_LIMIT = frame.TRAIT_LIMIT, 0\n"
            "w = rw.ActivationHeatmap(run)\nframe.TRAIT_LIMIT = limit\ntell(comm=w.model_id)"
        )
    )["comm"]
    number = json.loads(kernel.run("tell(id=w.frame['id'])"))["id"]
    answer = ask(kernel, comm, kind="frame", frame_id=number)
    assert (answer["kind"], answer["names"]) == ("frame", ["heatmap.data"])
    values = struct.unpack("<28f", bytes(answer["buffers"][0]))
    assert values == pytest.approx(json.loads(kernel.run("tell(v=w.result.values.values.ravel().tolist())"))["v"])


def test_a_file_made_in_a_callback_arrives(widget):
    kernel, comm = widget
    answer = ask(kernel, comm, kind="export", format="png")
    assert answer["mime"] == "image/png"
    assert bytes(answer["buffers"][0]).startswith(b"\x89PNG")


def test_clicks_while_a_cell_runs_the_model_change_no_number(widget):
    kernel, comm = widget
    code = """
clean = run.final_logits.clone()
wrong = 0
for _ in range(40):
    wrong += not torch.equal(rw.run(model, run.token_ids).final_logits, clean)
tell(wrong=wrong)
"""
    message = kernel.client.execute(code)
    asked = [next(numbers) for _ in range(30)]
    for turn, number in enumerate(asked):
        kernel.post(comm, {"id": number, "kind": "select", "at": {"layer": turn % 4, "pos": turn % 7}})
    printed = [m["content"]["text"] for m in kernel._until_idle(message) if m["msg_type"] == "stream"]
    assert json.loads("".join(printed)) == {"wrong": 0}
    assert {kernel.answer(comm, number)["kind"] for number in asked} == {"done"}
    assert json.loads(kernel.run("w.wait()\ntell(at=[w.layer, w.pos])")) == {"at": [29 % 4, 29 % 7]}


def test_set_then_read_wait_and_close_in_one_cell(widget):
    kernel, comm = widget
    printed = kernel.run(
        "w.stat = 'kurtosis'; a = w.result.stat\nw.select(1, -1); b = w.details['at']['pos']\nw.wait(); w.close()\n"
        "tell(stat=a, pos=b, closed=w.closed)"
    )
    assert json.loads(printed) == {"stat": "kurtosis", "pos": 6, "closed": True}
    kernel.drain()
    assert kernel.comms[comm][-1]["msg_type"] == "comm_close"


def test_the_worker_leaves_gradients_of_the_cell_alone(widget):
    kernel, comm = widget
    ask(kernel, comm, kind="set", name="component", value="mlp_out")
    assert json.loads(kernel.run("tell(grad=torch.is_grad_enabled())")) == {"grad": True}


def test_a_comm_is_open_while_one_widget_takes_the_place_of_another(kernel, monkeypatch):
    """JupyterLab takes its way to widgets down with the last comm, and may give a new widget the one that is gone."""
    kernel.run("w = rw.ActivationHeatmap(run)\nw", cell="a")
    kernel.run("import ipywidgets\nipywidgets.Widget.close_all()\ndel w")
    kernel.drain()
    order: list[dict[str, Any]] = []
    take = kernel._take
    monkeypatch.setattr(kernel, "_take", lambda timeout: order.append(take(timeout)) or order[-1])
    for _ in range(3):
        kernel.run("rw.ActivationHeatmap(run)", cell="a")
    kernel.drain()
    now: set[str] = set()
    least = []
    for message in order:
        if message["msg_type"] == "comm_open":
            now.add(message["content"]["comm_id"])
        elif message["msg_type"] == "comm_close":
            now.discard(message["content"]["comm_id"])
            least.append(len(now))
    assert len(least) >= 2  # the first two are gone
    assert min(least) >= 1

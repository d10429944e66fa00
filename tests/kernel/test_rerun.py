"""A cell that makes a widget can run again and again: what no user variable holds is closed, and memory stays flat."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

RUNS = 56
# Each widget holds a run of its own. Widgets and runs are counted; memory shows what is held beside them.
MAKE_RUN = "rw.run(model, list(range(64)))"
MAKE = f"rw.ActivationHeatmap({MAKE_RUN}, layer=1, pos=2)"
LINK = "rw.link(*(rw.ActivationHeatmap(run) for _ in range(2)))"
EXPLORE = "rw.AblationExplorer(rw.run(model, list(range(64))), interventions=rw.zero(rw.Site('resid_post', 1, 2)))"
PATCH = "rw.PatchingHeatmap(model, list(range(64)), [1, *range(1, 64)], rw.logit_diff(3, 4))"
COUNT = """
gc.collect()
tell(widgets=len(registry._instances), runs=sum(type(o) is rw.Run for o in gc.get_objects()),
     megabytes=psutil.Process().memory_info().rss / 2**20)
"""


def counted(kernel: Any) -> dict[str, float]:
    return json.loads(kernel.run(COUNT, cell="count"))


def again(kernel: Any, code: str, times: int, cell: str | None) -> None:
    for _ in range(times):
        kernel.run(code, cell)


@pytest.mark.parametrize(
    ("code", "cell", "times"),
    [
        pytest.param(MAKE, "shown", RUNS // 2, id="shown"),
        pytest.param(f"x = {MAKE}", "assigned", RUNS, id="assigned"),
        pytest.param(f"y = {MAKE}\ny", "both", RUNS // 4, id="assigned and shown"),
        pytest.param(f"{MAKE};", None, RUNS // 2, id="cells without names"),
        pytest.param(f"rw.activation_map({MAKE_RUN})", "result", RUNS // 4, id="result"),
        pytest.param(EXPLORE, "explorer", RUNS // 4, id="explorer"),
        pytest.param(f"{PATCH}.explore(1, 2);", "opened", RUNS // 4, id="explorer in a heat map"),
        pytest.param(
            f"rw.link(*(rw.ActivationHeatmap(run) for _ in range(2)))\n{MAKE};", "linked", RUNS // 2, id="linked"
        ),
    ],
)
def test_memory_and_live_widgets_stay_flat(kernel, code, cell, times):
    warm = max(6, times // 4)  # until then allocators take more
    again(kernel, code, warm, cell)
    before = counted(kernel)
    again(kernel, code, times - warm, cell)
    after = counted(kernel)
    assert after["widgets"] == before["widgets"]
    assert after["runs"] == before["runs"]
    assert after["megabytes"] - before["megabytes"] < 32, (before, after)  # what allocators hold back; over 16 was seen


def test_what_a_user_variable_holds_stays_open(kernel):
    kernel.run(f"{MAKE}.close()")  # with the first widget one comes that stays (`shell/channel.py`)
    before = counted(kernel)
    kernel.run("kept = []", cell="kept")
    again(kernel, f"kept.append({MAKE}); kept[-1]", 10, cell="held")
    after = counted(kernel)
    assert after["widgets"] - before["widgets"] == 20  # each with its layout
    assert json.loads(kernel.run("tell(closed=[w.closed for w in kept], shape=kept[0].result.values.shape)")) == {
        "closed": [False] * 10,
        "shape": [4, 64],
    }
    kernel.run("kept.clear()")
    kernel.run(f"kept.append({MAKE})", cell="held")
    again(kernel, f"kept.append({MAKE})", 1, cell="held")
    assert counted(kernel)["widgets"] - before["widgets"] == 4
    kernel.run("del kept")
    kernel.run("pass", cell="held")
    assert counted(kernel)["widgets"] == before["widgets"]


def test_only_the_cell_that_made_it_closes_a_widget(kernel):
    kernel.run(f"import weakref\nref = weakref.ref({MAKE})\nref()", cell="one")
    kernel.run(MAKE, cell="two")
    kernel.run("1 + 1", cell="two")
    assert json.loads(kernel.run("tell(closed=ref().closed)")) == {"closed": False}
    kernel.run("1 + 1", cell="one")
    assert json.loads(kernel.run("tell(closed=ref() is None or ref().closed)")) == {"closed": True}


def test_an_explorer_in_a_heat_map_is_closed_with_it_and_not_by_the_cell_that_opened_it(kernel):
    kernel.run(f"patching = {PATCH}", cell="made")
    kernel.run("patching.explore(1, 2)", cell="opened")
    kernel.run("1 + 1", cell="opened")
    assert json.loads(kernel.run("tell(closed=patching.explorer is None)")) == {"closed": False}
    kernel.run("ref = weakref.ref(patching.explorer)\npatching = None", cell="gone")
    kernel.run("1 + 1", cell="made")
    assert json.loads(kernel.run("tell(closed=ref() is None or ref().closed)")) == {"closed": True}


def test_a_cell_run_by_a_cell_does_not_close_what_the_outer_one_made(kernel):
    code = f"first = weakref.ref({MAKE})\nget_ipython().run_cell('1 + 1')\ntell(closed=first().closed)"
    for _ in range(2):
        assert json.loads(kernel.run(code, cell="outer").splitlines()[-1]) == {"closed": False}


def test_out_still_has_the_closed_widget_which_says_so(kernel):
    kernel.run(MAKE, cell="out")
    kernel.run("old = max(Out)", cell="look")
    kernel.run(MAKE, cell="out")
    assert "is closed" in kernel.run("try: Out[old].result\nexcept rw.InputError as error: print(error)")


def test_the_history_of_displays_holds_no_pictures(kernel):
    kernel.run(
        "get_ipython().display_pub.store_display_history = True; before = set(get_ipython().history_manager.outputs)"
    )
    kernel.run(MAKE, cell="history")
    kernel.run(f"display({MAKE})", cell="history")
    told = kernel.run(
        "outputs = get_ipython().history_manager.outputs\n"
        "bundles = [o.bundle for n in outputs.keys() - before for o in outputs[n]]\n"
        "tell(n=len(bundles), longest=max(len(str(bundle)) for bundle in bundles))"
    )
    kernel.run("get_ipython().display_pub.store_display_history = False")
    found = json.loads(told)
    assert found["n"] >= 2 and found["longest"] < 1000

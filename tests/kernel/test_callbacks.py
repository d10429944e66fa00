"""Callbacks leave no widget behind that nothing leads to, and close none that a variable or the page still has."""

from __future__ import annotations

import json
import time

import pytest

from tests.kernel.conftest import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

MOVES = 4
START = """
import asyncio, ipywidgets
from IPython.display import clear_output, display
def draw(): return rw.ActivationHeatmap(run, layer=1, pos=2)
def lenses(): return [w for w in registry._instances.values() if isinstance(w, rw.ActivationHeatmap)]
draw().close()  # from now on somebody listens: what was displayed before may be on the page for ever
"""
COUNT = "tell(open=len(lenses()))"

CELLS = {
    "interact displays": "ipywidgets.interact(lambda n: display(draw()), n=slider)",
    "interact returns": "ipywidgets.interact(lambda n: draw(), n=slider);",
    "interactive": "display(ipywidgets.interactive(lambda n: display(draw()), n=slider))",
    "interactive in a variable": "panel = ipywidgets.interactive(lambda n: display(draw()), n=slider)\npanel",
    "interactive_output": "display(slider, ipywidgets.interactive_output(lambda n: display(draw()), {'n': slider}))",
    "container in interact": "ipywidgets.interact(lambda n: display(ipywidgets.VBox([draw()])), n=slider)",
    "interact in interact": """
def outer(n): ipywidgets.interact(lambda m: display(draw()), m=(0, 3))
ipywidgets.interact(outer, n=slider)
""",
    "observer with an Output": """
out = ipywidgets.Output()
def redraw(change):
    with out:
        clear_output(wait=True)
        display(draw())
slider.observe(redraw, "value")
display(slider, out)
""",
    "Output that captures": """
out = ipywidgets.Output()
@out.capture(clear_output=True)
def redraw(change): display(draw())
slider.observe(redraw, "value")
display(ipywidgets.VBox([slider, out]))
""",
    "Output in no variable": """
def build():
    out = ipywidgets.Output()
    def redraw(change):
        out.clear_output()
        with out: display(draw())
    slider.observe(redraw, "value")
    display(slider, out)
build()
""",
    "observer without an Output": "slider.observe(lambda change: display(draw()), 'value')\nslider",
    "observer that shows nothing": "slider.observe(lambda change: draw(), 'value')\nslider",
    "children of a box": """
box = ipywidgets.VBox()
def redraw(change): box.children = [draw()]
slider.observe(redraw, "value")
display(slider, box)
""",
    "display handle": """
handle = display(draw(), display_id=True)
slider.observe(lambda change: handle.update(draw()), "value")
""",
    "appended to an Output": """
out = ipywidgets.Output()
def redraw(change): out.outputs = (); out.append_display_data(draw())
slider.observe(redraw, "value")
display(slider, out)
""",
    "task of asyncio": """
out = ipywidgets.Output()
async def later():
    await asyncio.sleep(0)
    w = draw()
    await asyncio.sleep(0.02)  # cells begin and end meanwhile, on another thread
    with out:
        clear_output(wait=True)
        display(w)
slider.observe(lambda change: asyncio.ensure_future(later()), "value")
display(slider, out)
""",
    "thread": """
out = ipywidgets.Output()
def redraw():
    with out:
        clear_output(wait=True)
        display(draw())
def begin(change):
    t = threading.Thread(target=redraw); t.start(); t.join()
slider.observe(begin, "value")
display(slider, out)
""",
}


@pytest.fixture
def fresh(shared: Kernel) -> Kernel:
    """A kernel of each generation with a slider, and no widget of a test before."""
    if shared.loses_requests:
        pytest.skip("ipykernel 7.0 to 7.3 loses requests for good (its issue 1554), and callbacks send many")
    return with_slider(shared)


@pytest.fixture
def newest(kernel: Kernel) -> Kernel:
    """The same, of the newest generation only."""
    if kernel.subshell is None:
        kernel.open_subshell()
    return with_slider(kernel)


def with_slider(kernel: Kernel) -> Kernel:
    kernel.run(START, cell="start")
    kernel.run("ipywidgets.Widget.close_all()\nslider = ipywidgets.IntSlider()", cell="slider")
    return kernel


def comm_of(kernel: Kernel, name: str = "slider") -> str:
    return json.loads(kernel.run(f"tell(comm={name}.comm.comm_id)", cell="comm"))["comm"]


def n_open(kernel: Kernel) -> int:
    """Count the pictures that are open, when tasks of callbacks have ended."""
    found = [-1]
    while len(found) < 3 or found[-1] != found[-2]:
        found.append(json.loads(kernel.run(COUNT, cell="count"))["open"])
        time.sleep(0.05)
    return found[-1]


EVERYWHERE = ("interact displays", "observer with an Output", "thread")
"""What depends on how a generation of ipykernel runs callbacks; the others are tried on the newest only."""


@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_a_callback_has_replaced_is_closed(fresh: Kernel, name: str) -> None:
    only_the_last_stays(fresh, CELLS[name])


@pytest.mark.parametrize("name", [name for name in CELLS if name not in EVERYWHERE])
def test_what_any_callback_has_replaced_is_closed(newest: Kernel, name: str) -> None:
    only_the_last_stays(newest, CELLS[name])


def only_the_last_stays(fresh: Kernel, cell: str) -> None:
    for again in range(2):
        fresh.run(f"slider = ipywidgets.IntSlider()\n{cell}", cell="made")
        slider = comm_of(fresh)
        for value in range(1, MOVES):
            fresh.move(slider, value=value)
        last = int(cell != CELLS["observer that shows nothing"])
        if cell == CELLS["task of asyncio"]:  # its last step may still be to come
            until = time.monotonic() + 60
            while n_open(fresh) != last and time.monotonic() < until:
                time.sleep(0.2)
        assert n_open(fresh) == last, again
    fresh.run("slider = out = box = panel = handle = redraw = outer = None", cell="free")
    fresh.run("pass", cell="made")
    assert n_open(fresh) == 0


HELD = {
    "list": ("kept = []", "kept.append(draw())"),
    "dict": ("kept = {}", "kept[change.new] = {'picture': draw()}"),
    "attribute": ("class Notes: pass\nkept = Notes()", "setattr(kept, f'at{change.new}', draw())"),
    "closure": (
        "def make():\n    hidden = []\n    return hidden.append, lambda: hidden\nadd, kept = make()",
        "add(draw())",
    ),
    "result": ("kept = {}", "w = draw(); kept[change.new] = w; display(w); clear_output()"),
    "container": ("kept = []", "kept.append(ipywidgets.HBox([draw()]))"),
}


@pytest.mark.parametrize(("before", "keep"), HELD.values(), ids=HELD.keys())
def test_what_a_variable_leads_to_stays_open(fresh: Kernel, before: str, keep: str) -> None:
    fresh.run(f"{before}\ndef redraw(change):\n    {keep}\nslider.observe(redraw, 'value')", cell="made")
    slider = comm_of(fresh)
    for value in range(1, MOVES):
        fresh.move(slider, value=value)
    assert n_open(fresh) == MOVES - 1
    fresh.run("kept = add = None; del redraw; slider.close(); slider = None", cell="free")
    assert n_open(fresh) <= 1


def test_what_only_the_closure_of_a_shown_widget_holds_stays_open(fresh: Kernel) -> None:
    fresh.run(
        """
def build():
    hidden, other = [], ipywidgets.IntSlider()
    other.observe(lambda change: hidden.append(draw()), "value")
    display(other)
    return other.comm.comm_id
tell(comm=build())
""",
        cell="made",
    )
    comm = json.loads(
        fresh.run(
            "tell(comm=[w for w in registry._instances.values() if type(w) is ipywidgets.IntSlider][-1].comm.comm_id)"
        )
    )["comm"]
    for value in range(1, MOVES):
        fresh.move(comm, value=value)
    assert n_open(fresh) == MOVES - 1
    fresh.run("pass", cell="made")
    assert n_open(fresh) <= 1


def test_what_is_still_shown_stays_open_until_it_is_cleared(fresh: Kernel) -> None:
    fresh.run(
        """
draw()
out, button = ipywidgets.Output(), ipywidgets.Button()
def add(_):
    with out: display(draw())
button.on_click(add)
display(draw())
display(button, out)
draw()
""",
        cell="made",
    )
    button = comm_of(fresh, "button")
    for _ in range(MOVES):
        fresh.click(button)
    assert n_open(fresh) == MOVES + 3  # one that was never displayed waits for its cell
    fresh.run("out.clear_output(wait=True)", cell="clear")
    assert n_open(fresh) == MOVES + 3  # it is still there
    fresh.run("with out: print('x'); display(1)", cell="clear")
    assert n_open(fresh) == 3
    fresh.run("pass", cell="made")
    assert n_open(fresh) == 0


def test_an_early_return_of_interact_leaves_the_picture_that_is_still_there(fresh: Kernel) -> None:
    fresh.run("ipywidgets.interact(lambda n: display(draw()) if n < 2 else None, n=slider);", cell="made")
    slider = comm_of(fresh)
    for value in (1, 2, 3):
        fresh.move(slider, value=value)
        assert n_open(fresh) == 1


def test_a_loop_in_a_cell_leaves_what_it_shows(fresh: Kernel) -> None:
    fresh.run("for _ in range(5):\n    clear_output(wait=True)\n    display(draw())", cell="loop")
    assert n_open(fresh) == 1
    fresh.run("for _ in range(5): display(draw())", cell="loop")
    assert n_open(fresh) == 5
    fresh.run(
        "def show():\n    w = draw(); clear_output(); display(w); return w\nkept = [show() for _ in range(3)]",
        cell="loop",
    )
    assert n_open(fresh) == 3
    fresh.run("kept = None", cell="loop")
    assert n_open(fresh) == 0


def test_a_click_on_a_picture_of_ours_is_a_callback_too(fresh: Kernel) -> None:
    fresh.run(
        """
heat, out = rw.LogitLensHeatmap(run), ipywidgets.Output()
def redraw(change):
    with out:
        clear_output(wait=True)
        display(draw())
heat.observe(redraw, "selection")
display(heat, out)
""",
        cell="made",
    )
    heat = comm_of(fresh, "heat")
    for number in range(1, MOVES):
        fresh.post(heat, {"id": number, "kind": "select", "at": {"layer": 1, "pos": number % 4}})
        assert fresh.answer(heat, number)["kind"] == "done"
    fresh.run("heat.wait()", cell="wait")
    assert n_open(fresh) == 1

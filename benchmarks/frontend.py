"""What the front-end costs, in a real JupyterLab in headless Chromium.

A 48 x 2048 grid: JavaScript time from a frame's arrival to drawn, hovering, and its size on the wire beside the same
grid as JSON. The tiny model: from a click to what Python answers being painted, beside an empty round trip, in
interleaved rounds; also from a click that ablates to the new metric, next tokens and picture. All times of the page
are taken inside it, from the event's own time stamp to the second animation frame after the answer stands there (about
33 ms of each, for a frame that is certainly painted). Run it on a machine that does little else.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from _timing import interleaved, machine, percentile, ratios, spread

sys.path.insert(0, str(Path(__file__).parents[1]))
from _clicks import ablating_click, cell_click, echo_click, statistic_change
from _tab import FRAME, IN_PAGE, Chromium, Tab

from tests.browser.lab import Kernel, Server, isolated
from tests.browser.page import Notebook

LAYERS, POSITIONS = 48, 2048
DRAWS = 40
HOVERED = 2.0  # seconds of pointer movement a round
ROUNDS = 5

EMPTY, BYTES, JSON_LIST = "empty round trip", "grid as bytes", "grid as JSON"
CLICK, STATISTIC = "click to its details", "another statistic to its picture"
ABLATE = "click to its ablation"


class Bench:
    """A server, a kernel and a browser."""

    def __init__(self, server: Server, kernel: Kernel, chromium: Chromium) -> None:
        self.server, self.kernel, self.chromium = server, kernel, chromium

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Tab]:
        """Show a widget of the kernel and an echo of its numbers in a notebook of their own."""
        path = f"{name}.ipynb"
        show = (
            f"import IPython.display\necho = Echo({name}.result.values.values)\nIPython.display.display({name}, echo)"
        )
        self.server.write(path, show)
        with self.chromium.playwright() as context:
            notebook = Notebook(self.server, context, path, kernel=self.kernel)
            notebook.run()
            notebook.view(0)
            notebook.command("application:toggle-left-area")
        with self.chromium.tab(path) as tab:
            tab.ask(IN_PAGE)
            tab.ask("rw.echo.scrollIntoView({ block: 'end' })")
            tab.settle(1)
            yield tab

    @contextlib.contextmanager
    def counted(self, name: str) -> Iterator[tuple[Notebook, list[int]]]:
        """Show a widget to Playwright, which sees each message of the kernel's socket: their sizes."""
        sizes: list[int] = []

        def arrived(data: str | bytes) -> None:
            data = data.encode() if isinstance(data, str) else data
            if b'"comm_msg"' in data:
                sizes.append(len(data))

        path = f"{name}-counted.ipynb"
        self.server.write(path, f"echo = Echo({name}.result.values.values)\necho", name)
        with self.chromium.playwright() as context:
            context.on("page", lambda page: page.on("websocket", lambda ws: ws.on("framereceived", arrived)))
            notebook = Notebook(self.server, context, path, kernel=self.kernel)
            notebook.run()
            notebook.view(1)
            yield notebook, sizes
            notebook.close()


def compare_sizes(bench: Bench) -> None:
    cells = LAYERS * POSITIONS
    with bench.counted("grid") as (notebook, sizes):

        def measure(act: Callable[[], Any], quiet: float = 1.5) -> int:
            sizes.clear()
            act()
            notebook.page.wait_for_timeout(1000 * quiet)
            return sum(sizes)

        frame = measure(lambda: bench.kernel.run("grid.per_layer = not grid.per_layer"))
        in_bytes = measure(notebook.page.locator(".echo .bytes").click)
        in_json = measure(notebook.page.locator(".echo .list").click, quiet=5)
    print(f"\nOn the wire: a new {LAYERS} x {POSITIONS} picture, every message that it takes")
    for name, size in (("ActivationHeatmap", frame), ("values alone as bytes", in_bytes), (JSON_LIST, in_json)):
        print(f"    {name:32}{size / 1e3:8.1f} kB, {size / (4 * cells):.3f} of 4 bytes a cell (aim <= 1.1)")
    print(f"    JSON / ActivationHeatmap: {in_json / frame:.2f}")


def measure_drawing(bench: Bench, tab: Tab, name: str, options: Sequence[str]) -> None:
    """Print JavaScript's time from the arrival of a frame to drawn, near and with all positions in view."""
    turn = cycle(options)
    for zoom in ("near", "all positions"):
        if zoom != "near":
            tab.ask("rw.picture.querySelector('.rw-zoom button:nth-of-type(2)').click()")
        tab.ask("performance.clearMeasures()")
        for n in range(DRAWS + 1):
            bench.kernel.run(f"{name}.{next(turn)}")
            tab.ask(f"rw.drawn({n + 1})")
            tab.settle(0.05)
        times = tab.ask("rw.measures('rw:draw')")[1:]  # the first one sets up what later ones have
        over = sum(t > FRAME for t in times)
        print(f"    {name + ', ' + zoom:32}{in_ms(times)}, longest {max(times):.1f} ms; {over} of {len(times)} late")
        if name == "grid":
            measure_hover(tab)


def measure_hover(tab: Tab) -> None:
    """Print what a pointer that moves over the cells costs, beside one that moves where nothing listens."""
    left, top, width, height = tab.ask("rw.box(rw.grid())")
    x, y, _, echo_height = tab.ask("rw.box(rw.echo)")
    places = {"over the cells": (left, top, width, height), "beside them": (x + 300, y, 400, echo_height)}
    rates: dict[str, list[float]] = defaultdict(list)
    late: dict[str, list[float]] = defaultdict(list)
    tab.ask("performance.clearMeasures()")
    for _ in range(ROUNDS):
        for name, box in places.items():
            frames = frames_while_moving(tab, *box)
            gaps = [b - a for a, b in pairwise(frames)]
            rates[name].append(1000 * len(gaps) / (frames[-1] - frames[0]))
            late[name].append(sum(gap > 1.5 * FRAME for gap in gaps) / len(gaps))
    times = tab.ask("rw.measures('rw:hover')")
    print(f"        hover: {in_ms(times)} of JavaScript a move onto another cell ({len(times)} moves)")
    for name in places:
        print(
            f"        pointer {name + ':':16}{statistics.median(rates[name]):5.1f} frames a second, "
            f"{statistics.mean(late[name]):.1%} of the frames late"
        )
    both = [a / b for a, b in zip(*(rates[name] for name in places), strict=True)]
    print(f"        frames a second, over / beside: {spread(both)}")


def frames_while_moving(tab: Tab, left: float, top: float, width: float, height: float) -> list[float]:
    """Return the times of the animation frames while the pointer goes to and fro."""
    tab.move(left + 1, top + 1)
    tab.settle()
    tab.ask("rw.beginFrames()")
    start = time.perf_counter()
    while (now := time.perf_counter() - start) < HOVERED:
        swing = abs((now * 1.1) % 2 - 1)
        tab.move(left + 2 + swing * (width - 4), top + 2 + abs((now * 3.7) % 2 - 1) * (height - 4))
        time.sleep(0.004)
    return tab.ask("rw.endFrames()")


def compare_clicks(tab: Tab, actions: dict[str, Callable[[], None]], seconds: float) -> None:
    """Print how long each action takes from its event to painted, in interleaved rounds."""
    shown: dict[str, list[float]] = defaultdict(list)

    def clock(action: Callable[[], None]) -> float:
        action()
        until_shown, until_painted = tab.ask("rw.answer")
        shown[next(name for name, known in actions.items() if known is action)].append(until_shown)
        tab.settle(0.2)  # what one leaves behind, to be collected, is not for the next one to pay
        return until_painted

    painted = interleaved(actions, seconds=seconds, at_least=20, at_most=100, clock=clock)
    shown = {name: times[1:] for name, times in shown.items()}  # the first one warms, and is not in `painted` either
    print(f"    {f'{len(painted[EMPTY])} rounds':42}{'p50':>8}{'p95':>8}   / empty:{'p50':>4}{'p95':>6}")
    for end, all_times in (("shown", shown), ("painted", painted)):
        for name in actions:
            times, empty = all_times[name], all_times[EMPTY]
            p50, p95 = (percentile(times, p) / percentile(empty, p) for p in (50, 95))
            by_round = "" if name == EMPTY else f"; round by round {spread(ratios(all_times, name, EMPTY))}"
            print(
                f"    {f'{name}, {end}':42}{percentile(times, 50):8.1f}{percentile(times, 95):8.1f} ms"
                f"{p50:12.2f}{p95:6.2f}{by_round}"
            )


def in_ms(times: Sequence[float]) -> str:
    return f"p50 {percentile(times, 50):.2f} ms, p95 {percentile(times, 95):.2f} ms"


def main() -> None:
    print(machine("jupyterlab", "ipykernel", "ipywidgets", "anywidget", "resid-widgets"))
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        server = stack.enter_context(Server(home / "jupyter"))
        kernel = server.start_kernel()
        stack.callback(kernel.close)
        chromium = stack.enter_context(Chromium.started(home / "chromium", isolated(home / "browser")))
        bench = Bench(server, kernel, chromium)
        kernel.run("from benchmarks._echo import Echo\nfrom tests.browser.scenes import *")
        kernel.run("tiny = rw.ActivationHeatmap(rw.run(rw.load_model(progress=False), SENTENCE))")

        print("\nThe tiny model: ms from the event to Python's answer on the page")
        with bench.opened("tiny") as tab:
            rows, cols = kernel.value("list(tiny.result.values.shape)")
            compare_clicks(
                tab,
                {
                    EMPTY: echo_click(tab, "nothing"),
                    CLICK: cell_click(tab, rows, cols),
                    STATISTIC: statistic_change(tab),
                },
                seconds=60,
            )

        kernel.run("explorer = rw.AblationExplorer(tiny.run)")
        print("\nThe ablation explorer on the tiny model: the same (aim: at most 1.5)")
        with bench.opened("explorer") as tab:
            actions = {EMPTY: echo_click(tab, "nothing"), ABLATE: ablating_click(tab, rows, cols)}
            compare_clicks(tab, actions, seconds=40)

        kernel.run(f"long = long_run({POSITIONS}, {LAYERS})\ngrid = rw.ActivationHeatmap(long)")
        kernel.run("lens = rw.LogitLensHeatmap(long)")
        print(f"\n{LAYERS} x {POSITIONS}: JavaScript from a frame's arrival to drawn (aim under 16.7 ms), and hovering")
        with bench.opened("grid") as tab:
            measure_drawing(bench, tab, "grid", ["stat = 'kurtosis'", "stat = 'norm'", "stat = 'update_norm'"])
            print(f"\n{LAYERS} x {POSITIONS}: ms from the event to the grid there and painted")
            kinds = {EMPTY: "nothing", BYTES: "bytes", JSON_LIST: "list"}
            compare_clicks(tab, {name: echo_click(tab, kind) for name, kind in kinds.items()}, seconds=30)
        with bench.opened("lens") as tab:
            print("\nThe same with words in the cells and five tokens behind each (more than 4 bytes a cell)")
            measure_drawing(bench, tab, "lens", ["quantity = 'entropy'", "quantity = 'probability'"])
        compare_sizes(bench)


if __name__ == "__main__":
    main()

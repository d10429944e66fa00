"""What a person does to a picture, as actions to be timed: each sets the page's clock, then makes the event."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import cycle

from _tab import FRAME, Tab


def settle(tab: Tab) -> None:
    """Let the page come to rest, and wait for any moment between two of its animation frames."""
    tab.settle(random.uniform(0, FRAME / 1000))


def echo_click(tab: Tab, kind: str) -> Callable[[], None]:
    """Return an action: click a button of the echo."""

    def act() -> None:
        x, y, width, height = tab.ask(f"rw.box(rw.echo.querySelector('.{kind}'))")
        place = (x + width / 2, y + height / 2)
        tab.move(*place)
        settle(tab)
        tab.ask("{ const old = rw.echo.textContent; rw.timed(rw.echo, 'click', () => rw.echo.textContent !== old) }")
        tab.click(*place)

    return act


def middle(tab: Tab, row: int, col: int, rows: int, cols: int) -> tuple[float, float]:
    """Return where a cell's middle is on the page."""
    x, y, width, height = tab.ask("rw.cells()")
    return x + (col + 0.5) * width / cols, y + (rows - row - 0.5) * height / rows


def cell_click(tab: Tab, rows: int, cols: int) -> Callable[[], None]:
    """Return an action: click a cell, never the one of the click before, and wait for what only Python knows of it."""
    order = [(row, col) for row in range(rows) for col in range(1, cols)]
    random.Random(0).shuffle(order)
    turn = cycle(order)

    def act() -> None:
        row, col = next(turn)
        place = middle(tab, row, col, rows, cols)
        tab.move(*place)
        settle(tab)
        heading = json.dumps([f"layer {row} ", f" position {col}"])
        tab.ask(
            f"""rw.timed(rw.picture, "click", () => {{
              const side = rw.picture.querySelector(".rw-side");
              const text = side.querySelector(".rw-heading").textContent;
              return text.startsWith({heading}[0]) && text.endsWith({heading}[1])
                && side.querySelectorAll(".rw-row").length > 1;
            }})"""
        )
        tab.click(*place)

    return act


def ablating_click(tab: Tab, rows: int, cols: int) -> Callable[[], None]:
    """Return an action: ablate a cell, or with the next click take that back, and wait for what came of it."""
    order = [(row, col) for row in range(rows) for col in range(1, cols)]
    random.Random(0).shuffle(order)
    turn = cycle(cell for cell in order for _ in range(2))

    def act() -> None:
        row, col = next(turn)
        place = middle(tab, row, col, rows, cols)
        tab.move(*place)
        settle(tab)
        tab.ask(
            """{
              const chips = () => rw.picture.querySelectorAll(".rw-side .rw-chip").length;
              const old = chips();
              rw.timed(rw.picture, "click", () => chips() !== old);
            }"""
        )
        tab.click(*place)

    return act


def statistic_change(tab: Tab) -> Callable[[], None]:
    """Return an action: choose another statistic in the header, and wait for the title of its picture."""
    turn = cycle(["kurtosis", "norm"])

    def act() -> None:
        settle(tab)
        tab.ask(
            f"""{{
              const field = rw.picture.querySelector("[name=stat]");
              const title = rw.picture.querySelector(".rw-title");
              const old = title.textContent;
              rw.timed(rw.picture, "change", () => title.textContent !== old);
              field.value = [...field.options].find(option => option.textContent === "{next(turn)}").value;
              field.dispatchEvent(new Event("change", {{ bubbles: true }}));
            }}"""
        )

    return act

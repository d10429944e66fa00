"""One widget on a page: where its cells are, what colours they have, what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, expect

from tests.browser.lab import PATIENCE

expect.set_options(timeout=PATIENCE * 1000)

_PIXELS = """(canvas, points) => {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !canvas.width) return null;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return points.map(([x, y]) => {
    const at = 4 * (Math.floor(y * canvas.height / height) * canvas.width + Math.floor(x * canvas.width / width));
    return [data[at], data[at + 1], data[at + 2], data[at + 3]];
  });
}"""


REVEAL = """async (el, [pos, cols]) => {
  const [width, before] = [el.scrollWidth / cols, el.scrollLeft];
  if (pos * width < before) el.scrollLeft = pos * width;
  else if ((pos + 1) * width > before + el.clientWidth) el.scrollLeft = (pos + 1) * width - el.clientWidth;
  if (el.scrollLeft !== before)
    for (let n = 0; n < 2; n++) await new Promise((done) => requestAnimationFrame(done));
}"""
"""Scrolls a column of a grid into its window, as a person does, and waits until that is drawn."""


class View:
    """A widget's element. Everything is read from the page, nothing from the widget's own modules."""

    def __init__(self, root: Locator) -> None:
        self.root = root
        self.page = root.page
        self.grid = root.get_by_role("grid")
        self.base, self.over = root.locator("canvas").nth(0), root.locator("canvas").nth(1)
        self.side = root.get_by_role("complementary")
        self.tip = root.locator("[role=tooltip]")
        self.notices = root.locator(".rw-notice")

    def drawn(self) -> View:
        """Wait until there is a picture."""
        expect(self.grid).to_be_visible()
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return int(str(self.grid.get_attribute("aria-rowcount"))), int(str(self.grid.get_attribute("aria-colcount")))

    def place(self) -> dict[str, float]:
        """Return where the cells are on the page: left upper corner of the picture and size of a cell, CSS pixels."""
        rows, cols = self.shape
        box = self.grid.get_by_role("row").evaluate("el => el.getBoundingClientRect().toJSON()")
        return {"x": box["x"], "y": box["y"], "w": box["width"] / cols, "h": box["height"] / rows}

    def at(self, layer: int, pos: int, dx: float = 0.5, dy: float = 0.5) -> tuple[float, float]:
        """Return the point of a cell on the page, by default its centre."""
        self.grid.scroll_into_view_if_needed()
        rows, cols = self.shape
        self.grid.evaluate(REVEAL, [pos, cols])
        place = self.place()
        return place["x"] + (pos + dx) * place["w"], place["y"] + (rows - 1 - layer + dy) * place["h"]

    def click(self, layer: int, pos: int) -> None:
        """Click a cell with the mouse."""
        self.page.mouse.click(*self.at(layer, pos))

    def hover(self, layer: int, pos: int) -> None:
        """Move the mouse to a cell."""
        self.page.mouse.move(*self.at(layer, pos))

    def leave(self) -> None:
        """Move the mouse away."""
        self.page.mouse.move(1, 1)

    def colours(self, dx: float = 0.5, dy: float = 0.5) -> NDArray[np.int64]:
        """Return the colour of every cell, ``[layer, pos, rgba]``, at one point of it."""
        rows, cols = self.shape
        place = self.place()
        box = self.base.evaluate("el => el.getBoundingClientRect().toJSON()")
        x0, y0 = place["x"] - box["x"], place["y"] - box["y"]
        points = [
            [x0 + (col + dx) * place["w"], y0 + (rows - 1 - row + dy) * place["h"]]
            for row in range(rows)
            for col in range(cols)
        ]
        return np.array(self.base.evaluate(_PIXELS, points)).reshape(rows, cols, 4)

    def outlined(self) -> tuple[int, int] | None:
        """Return the cell that the upper canvas outlines, found by its ink; None where there is no ink."""
        box = self.over.evaluate(
            """canvas => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              let [left, right, top, bottom] = [width, -1, height, -1];
              for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (data[4 * (y * width + x) + 3] > 60) {
                left = Math.min(left, x); right = Math.max(right, x);
                top = Math.min(top, y); bottom = Math.max(bottom, y);
              }
              const by = canvas.getBoundingClientRect();
              const scale = by.width / width;
              return right < 0 ? null : [by.x + scale * (left + right + 1) / 2, by.y + scale * (top + bottom + 1) / 2];
            }"""
        )
        if box is None:
            return None
        rows, _ = self.shape
        place = self.place()
        return rows - 1 - int((box[1] - place["y"]) // place["h"]), int((box[0] - place["x"]) // place["w"])

    def outlines(self, layer: int, pos: int) -> None:
        """Wait until just this cell is outlined."""
        self.leave()
        self.root.page.wait_for_timeout(0)
        for _ in range(int(PATIENCE * 20)):
            if self.outlined() == (layer, pos):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"cell {(layer, pos)} is not outlined, but {self.outlined()}")

    def field(self, name: str) -> Locator:
        """Return a control of the header."""
        return self.root.locator(f"[name='{name}']")

    def contrasts(self) -> list[dict[str, Any]]:
        """Return the contrast ratio (WCAG 2) of every text that the widget shows, from computed styles."""
        return self.root.evaluate(_CONTRASTS)


_CONTRASTS = """root => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  pen.canvas.width = pen.canvas.height = 1;
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const ground = el => {
    const layers = [];
    for (let at = el; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = c => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const el = node.parentElement;
    const text = node.textContent.trim();
    if (!text || el.closest(".rw-hidden-text, :disabled, option") || !el.checkVisibility()) continue;
    const style = getComputedStyle(el);
    const under = ground(el);
    const ink = over(rgba(style.color), under);
    const [high, low] = [light(ink), light(under)].sort((a, b) => b - a);
    found.push({ text: text.slice(0, 60), ratio: (high + 0.05) / (low + 0.05), size: parseFloat(style.fontSize) });
  }
  for (const el of root.querySelectorAll("select, input")) {
    const style = getComputedStyle(el);
    if (!el.checkVisibility() || el.disabled || el.type === "checkbox") continue;
    const under = ground(el);
    const [high, low] = [light(over(rgba(style.color), under)), light(under)].sort((a, b) => b - a);
    found.push({ text: el.name, ratio: (high + 0.05) / (low + 0.05), size: parseFloat(style.fontSize) });
  }
  return found;
}"""


def expected(values: Sequence[Sequence[float]], low: float, high: float) -> NDArray[np.int64]:
    """Return the viridis colours of values between limits, ``[layer, pos, rgb]``."""
    from matplotlib import colormaps

    place = np.clip((np.array(values) - low) / (high - low), 0, 1)
    return np.round(255 * np.array(colormaps["viridis"](place))[..., :3]).astype(int)

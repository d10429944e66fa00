import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anchored,
  cellRect,
  hit,
  type Layout,
  type LayoutInput,
  labelledCols,
  layout,
  scrollTo,
  visibleCols,
  type Zoom,
} from "../../lib/canvas/layout";

const lay = (over: Partial<LayoutInput> = {}): Layout =>
  layout({
    width: 780,
    rows: 12,
    cols: 15,
    zoom: "auto",
    dpr: 1,
    text: false,
    labelWidth: 45,
    rowLabelWidth: 13,
    barWidth: 80,
    ...over,
  });

for (const dpr of [1, 1.25, 1.5, 2, 3])
  for (const [rows, cols] of [
    [1, 1],
    [4, 6],
    [12, 15],
    [48, 2048],
  ] as const)
    for (const width of [320, 780, 1500])
      test(`every cell's centre hits the cell: ${rows} x ${cols}, ${width} px, density ${dpr}`, () => {
        const at = lay({ rows, cols, width, dpr });
        for (const scroll of [0, 0.37 * Math.max(0, at.content - at.view.w), Math.max(0, at.content - at.view.w)]) {
          const { first, last } = visibleCols(at, scroll);
          for (let row = 0; row < rows; row += Math.max(1, Math.floor(rows / 7)))
            for (let col = first; col <= last; col++) {
              const { x, y, w, h } = cellRect(at, { row, col }, scroll);
              const point = { x: x + w / 2, y: y + h / 2 };
              if (point.x < at.view.x || point.x >= at.view.x + at.view.w) continue;
              assert.deepEqual(hit(at, point.x, point.y, scroll), { row, col });
            }
        }
      });

test("outside the cells nothing is hit", () => {
  const at = lay();
  const { x, y, w, h } = at.view;
  for (const [px, py] of [
    [x - 1, y + 5],
    [x + w + 1, y + 5],
    [x + 5, y - 1],
    [x + 5, y + h + 1],
  ] as const)
    assert.equal(hit(at, px, py, 0), null);
  assert.equal(hit(lay({ cols: 0 }), x + 5, y + 5, 0), null);
});

test("row 0 is the lowest", () => {
  const at = lay();
  assert.ok(cellRect(at, { row: 0, col: 0 }, 0).y > cellRect(at, { row: 11, col: 0 }, 0).y);
});

test("cells are whole device pixels wide, so that edges are sharp", () => {
  for (const dpr of [1, 1.25, 2]) {
    const w = lay({ dpr }).cell.w * dpr;
    assert.ok(Math.abs(w - Math.round(w)) < 1e-9, `${w}`);
  }
});

test("a short prompt fills the room, a long one scrolls at a readable width, fit shows all", () => {
  const short = lay();
  assert.ok(short.content <= short.view.w + 1e-9 && short.view.w > 500);
  const long = lay({ cols: 2048 });
  assert.ok(long.cell.w >= 14 && long.content > long.view.w);
  const words = lay({ cols: 300, text: true });
  assert.ok(words.cell.w >= 44 && words.cell.h >= 18);
  const all = lay({ cols: 2048, zoom: "fit" });
  assert.ok(all.content <= all.view.w + 1e-6 && all.cell.w < 1);
});

test("nothing is laid out beyond the width", () => {
  for (const width of [280, 400, 1600])
    for (const cols of [3, 15, 2048])
      for (const zoom of ["auto", "fit", 80] as Zoom[]) {
        const at = lay({ width, cols, zoom });
        assert.ok(at.view.x + at.view.w + 80 <= width + 1e-6, `${width} ${cols} ${zoom}`);
      }
});

test("zoom stays between all-in-view and a widest cell", () => {
  assert.equal(lay({ cols: 2048, zoom: 100000 }).cell.w, 240);
  assert.ok(lay({ cols: 2048, zoom: 0.0001 }).cell.w * 2048 >= 600);
});

test("few cells fill the card", () => {
  for (const width of [400, 780, 1200])
    for (const [rows, cols] of [
      [4, 7],
      [4, 5],
      [2, 6],
    ] as const) {
      const { view, cell } = lay({ rows, cols, width });
      assert.ok(view.w >= Math.min(cols * 240, width - 43 - 80) - cols, `${cols} columns in ${width}: ${view.w}`);
      assert.equal(cell.h, 56);
    }
  assert.equal(lay({ rows: 30 }).cell.h, 10);
});

test("labels do not touch: token labels perpendicular to their slant, layer numbers one above the other", () => {
  for (const cols of [5, 15, 60, 300, 2048])
    for (const zoom of ["auto", "fit"] as Zoom[]) {
      const at = lay({ cols, zoom });
      if (at.angle === 0) assert.ok(at.cell.w >= 45 + 4);
      else {
        const apart = at.colStep * at.cell.w * Math.sin((at.angle * Math.PI) / 180);
        assert.ok(apart >= 12 - 1e-9, `${cols} ${zoom}: ${apart}`);
      }
    }
  for (const rows of [1, 12, 48, 126]) {
    const at = lay({ rows });
    assert.ok(at.rowStep * at.cell.h >= 16 - 1e-9);
  }
});

test("a chosen column is always labelled and pushes its neighbours out", () => {
  const at = lay({ cols: 2048, zoom: 5 });
  assert.ok(at.colStep > 2);
  const cols = labelledCols(at, 0, 100, [50]);
  assert.ok(cols.includes(50));
  for (let i = 1; i < cols.length; i++) assert.ok(cols[i]! - cols[i - 1]! >= Math.min(at.colStep, 1), `${cols}`);
  assert.ok(cols.every((col) => col === 50 || Math.abs(col - 50) >= at.colStep));
});

test("scrolling to a column shows the whole of it and moves no further than needed", () => {
  const at = lay({ cols: 500 });
  assert.equal(scrollTo(at, 3, 0), 0);
  const far = scrollTo(at, 499, 0);
  assert.equal(far, at.content - at.view.w);
  const back = scrollTo(at, 100, far);
  assert.equal(back, 100 * at.cell.w);
});

test("zooming keeps what is under the pointer in place", () => {
  const before = lay({ cols: 2048 });
  const after = lay({ cols: 2048, zoom: 28 });
  const scroll = 5000;
  const x = 200;
  const next = anchored(before, after, scroll, x);
  assert.ok(Math.abs((next + x) / after.cell.w - (scroll + x) / before.cell.w) < 1e-9);
});

test("visible columns are exactly those that the window cuts", () => {
  const at = lay({ cols: 500 });
  const { first, last } = visibleCols(at, at.cell.w * 10);
  assert.equal(first, 10);
  assert.ok(last <= 499 && cellRect(at, { row: 0, col: last }, at.cell.w * 10).x < at.view.x + at.view.w);
});

test("with a whole screen rows grow, up to a height that still reads as a grid", () => {
  assert.equal(lay({ rows: 12 }).cell.h, 25);
  assert.equal(lay({ rows: 12, tall: 600 }).cell.h, 50);
  assert.equal(lay({ rows: 2, tall: 900 }).cell.h, 96);
  assert.equal(lay({ rows: 48, tall: 200 }).cell.h, lay({ rows: 48 }).cell.h, "never smaller than on the page");
});

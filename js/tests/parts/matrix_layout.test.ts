import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anchorOf,
  inWindow,
  labelled,
  lookUpWindow,
  matrixLayout,
  shownAt,
  spotAt,
  spotKey,
  spotRect,
  windowText,
} from "../../lib/parts/matrix_layout";

const input = { width: 600, tall: 440, zoom: "auto", dpr: 1, labelWidth: 60, barWidth: 110 } as const;
const still = { x: 0, y: 0 };

test("few positions have large cells, many share pixels, and nothing is wider than its room", () => {
  const few = matrixLayout({ ...input, n: 4 });
  assert.equal(few.cell, 34);
  assert.ok(few.gap > 0);
  for (const n of [2, 15, 200, 1024]) {
    const at = matrixLayout({ ...input, n });
    assert.ok(at.view.x + at.view.w + input.barWidth <= input.width + 1, `${n}`);
    assert.ok(at.view.h <= 440);
    assert.ok(at.content <= at.view.w + 0.5, "all of it is in view");
  }
  const many = matrixLayout({ ...input, n: 1024 });
  assert.ok(many.cell < 1);
  assert.equal(many.gap, 0);
  assert.match(windowText(many, still, 1), /^all 1024 positions; a pixel shows the largest of up to 3 x 3$/);
});

test("labels do not touch", () => {
  for (const n of [4, 15, 60, 200, 1024]) {
    const at = matrixLayout({ ...input, n });
    assert.ok(at.rowStep * at.cell >= 12 - 1e-6);
    assert.ok(at.colStep * at.cell * Math.SQRT1_2 >= 12 - 1e-6);
  }
  assert.deepEqual(labelled(0, 9, 3, [4]), [0, 4, 9], "the chosen one pushes out its neighbours");
});

test("a point is a cell, a token's label, or nothing", () => {
  const at = matrixLayout({ ...input, n: 10 });
  const { view, cell } = at;
  assert.deepEqual(spotAt(at, view.x + 2.5 * cell, view.y + 7.5 * cell, still), { q: 7, k: 2 });
  assert.deepEqual(spotAt(at, 5, view.y + 0.5 * cell, still), { q: 0, k: null });
  assert.deepEqual(spotAt(at, view.x + 0.5 * cell, view.y + view.h + 10, still), { q: null, k: 0 });
  assert.equal(spotAt(at, view.x + view.w + 20, view.y + 5, still), null);
  const rect = spotRect(at, { q: 7, k: 2 }, still);
  assert.deepEqual([rect.x, rect.y, rect.w], [view.x + 2 * cell, view.y + 7 * cell, cell]);
});

test("zoomed in, the window scrolls both ways and finds the same cells", () => {
  const at = matrixLayout({ ...input, n: 200, zoom: 20 });
  assert.ok(at.content > at.view.w);
  const scroll = { x: 400, y: 1000 };
  const [first, last] = inWindow(at, scroll.y);
  assert.ok(first === 50 && last <= 199);
  const rect = spotRect(at, { q: 60, k: 25 }, scroll);
  assert.deepEqual(spotAt(at, rect.x + 1, rect.y + 1, scroll), { q: 60, k: 25 });
  assert.equal(shownAt(at, 0, 1000), 0);
  assert.equal(shownAt(at, 55, 1000), 1000, "what is in view does not move");
  assert.deepEqual(anchorOf(at, { q: 60, k: 25 }, scroll), { x: 100, y: 200 });
  assert.match(windowText(at, scroll, null), /^rows 50–\d+, columns 20–\d+ of 200$/);
});

test("keys move over the triangle that a causal model has", () => {
  const at = matrixLayout({ ...input, n: 10 });
  const go = (key: string, from: { q: number; k: number } | null) => spotKey({ key }, at, from, true);
  assert.deepEqual(go("ArrowDown", { q: 3, k: 3 }), { kind: "move", to: { q: 4, k: 3 } });
  assert.deepEqual(go("ArrowUp", { q: 3, k: 3 }), { kind: "move", to: { q: 2, k: 2 } }, "no token looks ahead");
  assert.deepEqual(go("ArrowRight", { q: 3, k: 3 }), { kind: "move", to: { q: 3, k: 3 } });
  assert.deepEqual(spotKey({ key: "ArrowRight" }, at, { q: 3, k: 3 }, false), { kind: "move", to: { q: 3, k: 4 } });
  assert.deepEqual(go("ArrowLeft", null), { kind: "move", to: { q: 0, k: 0 } });
  assert.deepEqual(go("Enter", { q: 3, k: 1 }), { kind: "select" });
  assert.equal(go("x", { q: 3, k: 1 }), null);
});

test("a pixel shows the largest value of its cells, of either sign, and nothing where no token looks", () => {
  const n = 600;
  const values = new Float32Array(n * n);
  values[400 * n + 100] = -7;
  values[401 * n + 100] = 3;
  const at = matrixLayout({ ...input, n });
  const { places, width, binned } = lookUpWindow(values, at, still, 1, true, (value) => value + 10);
  assert.ok(binned);
  const pixel = (q: number, k: number) => places[Math.ceil(q * at.cell) * width + Math.ceil(k * at.cell)];
  assert.equal(pixel(400, 100), 3, "-7 has the larger size");
  assert.equal(pixel(20, 500), -1, "above the diagonal there is nothing");
  assert.equal(pixel(500, 20), 10);
  const near = lookUpWindow(
    values,
    matrixLayout({ ...input, n, zoom: 20 }),
    { x: 2000, y: 8000 },
    1,
    true,
    (v) => v + 10,
  );
  assert.deepEqual(near.first, { q: 400, k: 100 });
  assert.deepEqual([near.places[0], near.places[near.width]], [3, 13]);
});

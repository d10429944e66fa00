import assert from "node:assert/strict";
import { test } from "node:test";
import {
  arcAt,
  arcLayout,
  arcList,
  arcsOf,
  centre,
  ellipse,
  MOST_ARCS,
  sumOf,
  tokenAt,
} from "../../lib/parts/arc_list";
import type { Picture } from "../../lib/parts/matrix_paint";

const pictureOf = (n: number, fill: (q: number, k: number) => number, marked: number[] = []): Picture => ({
  n,
  values: Float32Array.from({ length: n * n }, (_, i) => fill(Math.floor(i / n), i % n)),
  tokens: Array.from({ length: n }, (_, i) => `t${i}`),
  marked: new Set(marked),
  unknown: new Set(),
  scale: { kind: "sequential", low: 0, high: 1, under: false, over: false, label: "weight", units: "" },
  causal: true,
  rounding: 0,
  written: null,
});

// Token 0 takes half of what tokens 1 to 4 give; the rest goes to the token before.
const small = pictureOf(5, (q, k) => (q === 0 ? Number(k === 0) : k === 0 ? 0.5 : k === q - 1 ? 0.48 : 0.01), [0]);

test("arcs are what can be seen: weak ones are counted, those to marked positions left out", () => {
  const { arcs, left, sinks } = arcList(small);
  assert.deepEqual(
    arcs.map(({ q, k }) => [q, k]),
    [
      [2, 1],
      [3, 2],
      [4, 3],
    ],
  );
  const all = small.values.reduce((sum, v, i) => sum + (i % 5 <= Math.floor(i / 5) ? v : 0), 0);
  assert.ok(Math.abs(sinks - 3 / all) < 1e-6);
  assert.ok(Math.abs(left - (all - 3 - 3 * 0.48) / all) < 1e-6);
});

test("of many arcs the strongest are drawn, the strongest last", () => {
  const { arcs, least } = arcList(pictureOf(120, (q, k) => 0.2 + (0.5 * ((q * 31 + k * 17) % 97)) / 97));
  assert.equal(arcs.length, MOST_ARCS);
  for (let i = 1; i < arcs.length; i++) assert.ok(arcs[i]!.value >= arcs[i - 1]!.value);
  assert.equal(least, arcs[0]!.value);
});

test("of one token: from where it takes, marked positions too, and who takes from it", () => {
  const found = arcsOf(small, 2, 0.03);
  assert.deepEqual(
    found.out.map(({ k }) => k),
    [0, 1],
  );
  assert.deepEqual(
    found.in.map(({ q }) => q),
    [3],
  );
});

test("what pinned tokens take is summed for each position", () => {
  const sums = sumOf(small, [3, 4]);
  assert.deepEqual(
    Array.from(sums, (v) => Math.round(100 * v) / 100),
    [1, 0.02, 0.49, 0.49, 0.01],
  );
  assert.deepEqual([...sumOf(small, [])], [0, 0, 0, 0, 0]);
});

test("a point on an arc finds it, and one below a token finds the token", () => {
  const at = arcLayout(700, 12, 40, false);
  const arc = { q: 9, k: 2, value: 1 };
  const { ry } = ellipse(at, arc);
  const middle = (centre(at, 9, 0) + centre(at, 2, 0)) / 2;
  assert.equal(arcAt(at, [arc], middle, at.arcs - ry, 0), arc);
  assert.equal(arcAt(at, [arc], middle, at.arcs - ry + 20, 0), null);
  assert.ok(ry <= at.arcs - 10, "it stays in its lane");
  for (const token of [0, 5, 11]) assert.equal(tokenAt(at, centre(at, token, 0), at.arcs + 6, 0), token);
  assert.equal(tokenAt(at, centre(at, 5, 0), 20, 0), -1);
});

test("tokens stand level where they fit, slanted where not, and scroll where they are many", () => {
  assert.ok(arcLayout(700, 8, 40, false).level);
  const long = arcLayout(700, 1024, 60, true);
  assert.ok(!long.level && long.content > 700 && long.cell >= 15);
  assert.ok(long.sums > 0);
});

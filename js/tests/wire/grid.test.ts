import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, chosenIn, decode, gridOf, planeValues } from "../../lib/wire/grid";
import { heatmapOf, numbers, shifted } from "../frame";

test("a heat map decodes, and says by name what does not fit", () => {
  const grid = decode(heatmapOf());
  assert.deepEqual([...grid.values], [...numbers]);
  assert.deepEqual([grid.rows, grid.cols, grid.marked.has(0), grid.marked.has(1)], [2, 3, true, false]);
  assert.throws(() => decode(heatmapOf({ shape: [3, 3], rows: [0, 1, 2] })), /data: 9 values need 36 bytes, 24 came/);
  assert.throws(() => decode(heatmapOf({ tokens: ["a"] })), /2 x 1 labels/);
  assert.throws(() => decode(heatmapOf({ dtype: "float64" as "float32" })), /float64/);
});

test("words and top tokens decode with their own shapes", () => {
  const index = Uint32Array.from([0, 1, 0, 1, 0, 1]);
  const top = { k: 2, strings: ["x", "y"], index: Uint32Array.from([...index, ...index]), probs: new Float32Array(12) };
  const grid = decode(heatmapOf({ text: { strings: ["x", "y"], index: shifted(index, 1) }, top }));
  assert.deepEqual([...grid.text!], [...index]);
  assert.equal(grid.top!.index.length, 12);
  assert.throws(() => decode(heatmapOf({ top: { ...top, k: 3 } })), /top\.index: 18 values/);
});

test("further numbers decode under the place of their label", () => {
  const also = { labels: ["raw", "other"], "0": shifted(numbers, 3), "1": numbers };
  const grid = decode(heatmapOf({ also }));
  assert.deepEqual(
    grid.also.map(({ label, values }) => [label, [...values]]),
    [
      ["raw", [...numbers]],
      ["other", [...numbers]],
    ],
  );
  assert.deepEqual(decode(heatmapOf()).also, []);
  assert.throws(() => decode(heatmapOf({ also: { labels: ["raw"], "0": new Float32Array(5) } })), /also\.0: 6 values/);
});

test("data is decoded once for all that show it", () => {
  const data = heatmapOf();
  assert.equal(gridOf(data), gridOf(data));
  assert.notEqual(gridOf(data), gridOf({ ...data }));
});

test("a cell and its address are each other's, whatever the columns are", () => {
  const heads = decode(heatmapOf({ axes: ["layer", "head"], rows: [4, 9] }));
  assert.deepEqual(addressOf(heads, { row: 1, col: 2 }), { layer: 9, head: 2 });
  assert.deepEqual(chosenIn(heads, { layer: 9, head: 2 }), { row: 1, col: 2 });
  const neurons = decode(heatmapOf({ axes: ["layer", "neuron"], cols: [7, 30, 31] }));
  assert.deepEqual(addressOf(neurons, { row: 0, col: 1 }), { layer: 0, neuron: 30 });
  assert.deepEqual(chosenIn(neurons, { layer: 0, neuron: 31 }), { row: 0, col: 2 });
  assert.deepEqual(addressOf(heads, { row: 0, col: null }), { layer: 4 });
});

test("what a picture cannot show of an address it ignores", () => {
  const grid = decode(heatmapOf());
  assert.deepEqual(chosenIn(grid, { layer: 1, head: 2 }), { row: 1, col: null });
  assert.deepEqual(chosenIn(grid, { layer: 7, pos: 3 }), { row: null, col: null });
  assert.deepEqual(chosenIn(grid, {}), { row: null, col: null });
  assert.deepEqual(chosenIn(null, { layer: 1 }), { row: null, col: null });
});

test("planes give one cell's numbers", () => {
  const data = Float32Array.from({ length: 12 }, (_, i) => i);
  const planes = { labels: ["a", "b"], shape: [2, 3, 2] as [number, number, number], data, formats: [".2f", ".2f"] };
  assert.deepEqual([...planeValues(planes, 1, 2)], [10, 11]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { spoken } from "../../lib/page/facts";
import { facts } from "../../lib/parts/cell_facts";
import { gridCsv } from "../../lib/parts/grid_csv";
import { decode } from "../../lib/wire/grid";
import { heatmapOf } from "../frame";

const values = Float32Array.from([400, 0.5, Number.NaN, 0.25, Number.POSITIVE_INFINITY, -3]);
const grid = decode(heatmapOf({ data: values, tokens: ["<bos>", '·"a",', "↵"], unknown: [2], rows: [0, 1] }));

test("a cell's facts: where, what, and what is odd about it", () => {
  const bos = facts(grid, { row: 0, col: 0 });
  assert.equal(bos.value, "400.0");
  assert.deepEqual(bos.notes, ["above the colour scale (1)", "marked: left out of the scale"]);
  assert.deepEqual(facts(grid, { row: 0, col: 1 }).notes, []);
  assert.match(facts(grid, { row: 0, col: 2 }).notes.join(), /not a number.*does not know this word/);
  assert.deepEqual(facts(grid, { row: 1, col: 1 }).notes, ["not finite"]);
  assert.match(facts(grid, { row: 1, col: 2 }).notes.join(), /below the colour scale/);
});

test("the spoken label has layer, token, position and value", () => {
  const text = spoken(facts(grid, { row: 1, col: 0 }), true);
  assert.match(text, /^layer 1, token <bos>, position 0: norm 0\.2500, .*selected$/);
});

test("further numbers of a cell come along, each with its label", () => {
  const raw = Float32Array.from({ length: 6 }, (_, i) => i - 2.5);
  const drift = Float32Array.from({ length: 6 }, () => Number.NaN);
  const two = decode(
    heatmapOf({ data: values, also: { labels: ["logit difference", "drift"], "0": raw, "1": drift } }),
  );
  const cell = facts(two, { row: 1, col: 0 });
  assert.deepEqual(cell.also, [
    { label: "logit difference", value: "0.5000" },
    { label: "drift", value: "NaN" },
  ]);
  assert.match(spoken(cell, false), /norm 0\.2500, logit difference 0\.5000, drift NaN/);
  assert.deepEqual(facts(grid, { row: 1, col: 0 }).also, []);
});

test("where columns are no positions, no position is named", () => {
  const heads = decode(heatmapOf({ data: values, tokens: ["head 0", "head 1", "head 2"], column_name: "head" }));
  const cell = facts(heads, { row: 1, col: 2 });
  assert.deepEqual([cell.where, cell.token], ["", "head 2"]);
  assert.match(spoken(cell, false), /^layer 1, head 2: norm/);
  assert.match(gridCsv(heads), /^layer,head,token,norm\n/);
});

test("top tokens follow the cell, in rank order", () => {
  const index = Uint32Array.from([0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0]);
  const probs = Float32Array.from({ length: 12 }, (_, i) => i / 16);
  const lens = decode(heatmapOf({ data: values, top: { k: 2, strings: ["x", "y"], index, probs } }));
  assert.deepEqual(facts(lens, { row: 1, col: 0 }).top, [
    { token: "y", prob: 6 / 16 },
    { token: "x", prob: 7 / 16 },
  ]);
});

test("CSV quotes what needs it and has one line a cell", () => {
  const lines = gridCsv(grid).trim().split("\n");
  assert.equal(lines[0], "layer,pos,token,norm");
  assert.equal(lines.length, 1 + 6);
  assert.equal(lines[2], '0,1,"·""a"",",0.5');
});

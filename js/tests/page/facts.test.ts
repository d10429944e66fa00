import assert from "node:assert/strict";
import { test } from "node:test";
import { gridCsv } from "../../lib/page/exports";
import { facts, spoken } from "../../lib/page/facts";
import { noticesOf, type Situation } from "../../lib/page/notices";
import { decode } from "../../lib/wire/wire";
import { frameOf } from "../frame";

const values = Float32Array.from([400, 0.5, Number.NaN, 0.25, Number.POSITIVE_INFINITY, -3]);
const grid = decode(frameOf({ data: values, tokens: ["<bos>", '·"a",', "↵"], unknown: [2], rows: [0, 1] }));

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
  const two = decode(frameOf({ data: values, also: { labels: ["logit difference", "drift"], "0": raw, "1": drift } }));
  const cell = facts(two, { row: 1, col: 0 });
  assert.deepEqual(cell.also, [
    { label: "logit difference", value: "0.5000" },
    { label: "drift", value: "NaN" },
  ]);
  assert.match(spoken(cell, false), /norm 0\.2500, logit difference 0\.5000, drift NaN/);
  assert.deepEqual(facts(grid, { row: 1, col: 0 }).also, []);
});

test("where columns are no positions, no position is named", () => {
  const heads = decode(frameOf({ data: values, tokens: ["head 0", "head 1", "head 2"], column_name: "head" }));
  const cell = facts(heads, { row: 1, col: 2 });
  assert.deepEqual([cell.where, cell.token], ["", "head 2"]);
  assert.match(spoken(cell, false), /^layer 1, head 2: norm/);
  assert.match(gridCsv(heads), /^layer,head,token,norm\n/);
});

test("top tokens follow the cell, in rank order", () => {
  const index = Uint32Array.from([0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0]);
  const probs = Float32Array.from({ length: 12 }, (_, i) => i / 16);
  const lens = decode(frameOf({ data: values, top: { k: 2, strings: ["x", "y"], index, probs } }));
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

const calm: Situation = {
  status: { state: "ready", text: "" },
  busy: false,
  offline: false,
  gone: false,
  silent: false,
  failure: null,
  retry: () => undefined,
  dismiss: () => undefined,
};
const red = {
  name: "residual identity",
  level: "red" as const,
  value: 1,
  limit: 0,
  text: "the stream does not add up",
};

test("nothing is said where nothing is wrong", () => {
  assert.deepEqual(noticesOf(calm, [{ ...red, level: "green" }]), []);
});

test("a failed check, an error and a lost kernel are said, each once", () => {
  const [check] = noticesOf(calm, [red]);
  assert.deepEqual([check!.level, check!.lead], ["red", "Do not trust these numbers:"]);
  const status = { state: "error" as const, text: "dim must be under 64", detail: "trace" };
  assert.equal(noticesOf({ ...calm, status, failure: status.text }, []).length, 1);
  assert.equal(noticesOf({ ...calm, status }, [])[0]!.detail, "trace");
  assert.match(noticesOf({ ...calm, silent: true }, [])[0]!.text, /busy or was restarted\. Run the cell again/);
  assert.equal(noticesOf({ ...calm, silent: true, gone: true }, []).length, 1);
  assert.match(noticesOf({ ...calm, offline: true }, [])[0]!.text, /needs Python/);
});

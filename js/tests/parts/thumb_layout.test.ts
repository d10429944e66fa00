import assert from "node:assert/strict";
import { test } from "node:test";
import { inks } from "../../lib/canvas/scale";
import { decodeHeads, type HeadsData, headsCsv } from "../../lib/parts/heads_data";
import { namedWidth, nearestHead, thumbAt, thumbLayout } from "../../lib/parts/thumb_layout";
import { byteColours, scoreText } from "../../lib/parts/thumb_paint";

const rows = [0, 0, 0, 1, 1, 2, 2, 2];
const heads = [0, 1, 2, 0, 1, 0, 1, 2]; // the middle layer has two
const input = { width: 400, rows, heads, order: null, side: 15, dpr: 1, named: namedWidth(["0.0", "2.2"]) };

test("layer 0 is at the bottom, heads go across, and a cell without a head is none", () => {
  const at = thumbLayout(input);
  assert.deepEqual([at.rows, at.cols], [3, 3]);
  assert.deepEqual(at.at[0], { row: 2, col: 0 });
  assert.deepEqual(at.at[7], { row: 0, col: 2 });
  assert.equal(at.inCell[1 * 3 + 2], -1);
  assert.equal(nearestHead(at, 1, 2), 4, "the keyboard goes to the nearest");
  const centre = (n: number) => [
    at.lane + (at.at[n]!.col + 0.5) * at.cell.w,
    at.top + (at.at[n]!.row + 0.5) * at.cell.h,
  ];
  for (let n = 0; n < 8; n++) assert.equal(thumbAt(at, ...(centre(n) as [number, number])), n);
  assert.equal(thumbAt(at, 2, 2), -1);
});

test("in order of a number they follow each other in rows", () => {
  const order = [5, 0, 7, 1, 2, 3, 4, 6];
  const at = thumbLayout({ ...input, order, width: 300 });
  assert.ok(at.cols >= 3 && at.named);
  order.forEach((n, k) => {
    assert.deepEqual(at.at[n], { row: Math.floor(k / at.cols), col: k % at.cols });
  });
});

test("a picture has whole pixels, and many heads get small ones with numbers alone", () => {
  const at = thumbLayout(input);
  assert.equal(at.thumb % 15, 0);
  const many = thumbLayout({ ...input, rows: Array(32).fill(0), heads: [...Array(32).keys()], side: 24 });
  assert.equal(many.cell.w, 36);
  assert.ok(!many.named && many.top > 0 && many.width > 400, "it scrolls");
});

const data: HeadsData = {
  layers: [0, 0],
  heads: [0, 1],
  side: 2,
  block: 1,
  n: 2,
  pictures: Uint8Array.from([255, 0, 128, 128, 255, 0, 0, 255]),
  scale: { kind: "sequential", low: 0, high: 0.5, under: false, over: true, label: "weight", units: "" },
  score: 1,
  labels: ["induction", "first token"],
  says: ["", ""],
  numbers: Float32Array.from([Number.NaN, 0.25, 0.5, 0.75]),
  sort: true,
  order: Uint32Array.from([1, 0]),
  causal: true,
  note: "",
  ablated: [[0, 1]],
};

test("heads are decoded: the chosen number, the order, what is ablated", () => {
  const found = decodeHeads(data);
  assert.deepEqual([...found.values], [0.5, 0.75]);
  assert.deepEqual([...(found.order ?? [])], [1, 0]);
  assert.ok(found.ablated.has(1) && !found.ablated.has(0));
  assert.equal(headsCsv(found), "layer,head,induction,first_token\n0,0,NaN,0.5\n0,1,0.25,0.75");
  assert.throws(() => decodeHeads({ ...data, side: 3 }), /2 pictures in 8 bytes/);
});

test("bytes have the scale's colours, and what is above it has one of its own", () => {
  const colours = inks("sequential", false);
  const table = byteColours(data.scale, colours);
  assert.equal(table[0], colours.pixels[0]);
  assert.equal(table[127], colours.pixels[254]);
  assert.equal(table[255], colours.pixels[257]);
  assert.notEqual(table[255], table[127]);
});

test("numbers are short, and what is only the order of a sum is none", () => {
  const said = [0.976, 3e-4, 2e-5, -9.281, -0.002, Number.NaN, 0].map(scoreText);
  assert.deepEqual(said, ["0.98", "<0.01", "0", "\u22129.28", "<0.01", "\u2013", "0"]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, decode, float32, Grids, needsBytes, planeValues, revive, uint32 } from "../../lib/wire/wire";
import { frameOf, numbers } from "../frame";

/** The same bytes, starting `shift` bytes into a larger buffer. */
const shifted = (values: Float32Array | Uint32Array, shift: number): DataView => {
  const room = new Uint8Array(values.byteLength + shift + 3);
  room.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), shift);
  return new DataView(room.buffer, shift, values.byteLength);
};

for (const shift of [0, 1, 2, 3, 4, 6])
  test(`floats and integers survive a view at byte offset ${shift}`, () => {
    assert.deepEqual([...float32(shifted(numbers, shift), 6)], [...numbers]);
    const whole = Uint32Array.from([0, 1, 4294967295]);
    assert.deepEqual([...uint32(shifted(whole, shift), 3)], [...whole]);
  });

test("an aligned view is not copied, an unaligned one is", () => {
  const at4 = shifted(numbers, 4);
  assert.equal(float32(at4, 6).buffer, at4.buffer);
  const at1 = shifted(numbers, 1);
  assert.notEqual(float32(at1, 6).buffer, at1.buffer);
});

test("every kind of buffer object gives the same bytes", () => {
  const plain = new Uint8Array([1, 2, 3, 250]);
  for (const value of [
    plain,
    plain.buffer,
    new DataView(plain.buffer),
    Buffer.from(plain),
    new Int8Array(plain.buffer),
  ])
    assert.deepEqual([...bytes(value)], [1, 2, 3, 250]);
  for (const value of [null, undefined, "AAAA", 3, {}]) assert.throws(() => bytes(value), TypeError);
});

test("a frame decodes, and says by name what does not fit", () => {
  const grid = decode(frameOf());
  assert.deepEqual([...grid.values], [...numbers]);
  assert.deepEqual([grid.rows, grid.cols, grid.marked.has(0), grid.marked.has(1)], [2, 3, true, false]);
  assert.throws(() => decode(frameOf({ shape: [3, 3], rows: [0, 1, 2] })), /data: 9 values need 36 bytes, 24 came/);
  assert.throws(() => decode(frameOf({ tokens: ["a"] })), /2 x 1 labels/);
  assert.throws(() => decode(frameOf({ dtype: "float64" as "float32" })), /float64/);
});

test("words and top tokens decode with their own shapes", () => {
  const index = Uint32Array.from([0, 1, 0, 1, 0, 1]);
  const top = { k: 2, strings: ["x", "y"], index: Uint32Array.from([...index, ...index]), probs: new Float32Array(12) };
  const grid = decode(frameOf({ text: { strings: ["x", "y"], index: shifted(index, 1) }, top }));
  assert.deepEqual([...grid.text!], [...index]);
  assert.equal(grid.top!.index.length, 12);
  assert.throws(() => decode(frameOf({ top: { ...top, k: 3 } })), /top\.index: 18 values/);
});

test("further numbers decode from the trait or from a message, under the place of their label", () => {
  const also = { labels: ["raw", "other"], "0": shifted(numbers, 3), "1": numbers };
  const grid = decode(frameOf({ also }));
  assert.deepEqual(
    grid.also.map(({ label, values }) => [label, [...values]]),
    [
      ["raw", [...numbers]],
      ["other", [...numbers]],
    ],
  );
  assert.deepEqual(decode(frameOf()).also, []);
  const sent = new Map<string, unknown>([
    ["data", numbers],
    ["also.0", shifted(numbers, 1)],
  ]);
  const late = decode(frameOf({ data: null, also: { labels: ["raw"], "0": null } }), sent);
  assert.deepEqual([...late.also[0]!.values], [...numbers]);
  assert.throws(() => decode(frameOf({ also: { labels: ["raw"], "0": new Float32Array(5) } })), /also\.0: 6 values/);
});

test("a frame without bytes is asked for once, then known to every view", () => {
  const grids = new Grids();
  const frame = frameOf({ data: null, buffers: ["data"] });
  assert.ok(needsBytes(frame));
  assert.equal(grids.of(frame), null);
  assert.ok(grids.shouldAsk(frame, 0));
  assert.ok(!grids.shouldAsk(frame, 100), "a second view does not ask too");
  assert.ok(grids.shouldAsk(frame, 5000), "but asks again when no answer came");
  assert.throws(() => grids.put(frame, ["data", "more"], [numbers]), /2 buffers named, 1 came/);
  const grid = grids.put(frame, ["data"], [shifted(numbers, 1)]);
  assert.equal(grids.of(frame), grid);
  assert.equal(grids.of({ ...frame }), null, "another value of the trait is another picture");
});

test("a frame with bytes is decoded once", () => {
  const grids = new Grids();
  const frame = frameOf();
  assert.equal(grids.of(frame), grids.of(frame));
});

test("an exported page's state comes back with its bytes", () => {
  const base64 = Buffer.from(numbers.buffer).toString("base64");
  const state = revive({ frame: { data: { __buffer__: base64 }, rows: [0, { a: null }] }, text: "__buffer__" }) as {
    frame: { data: Uint8Array; rows: unknown[] };
    text: string;
  };
  assert.deepEqual([...float32(state.frame.data, 6)], [...numbers]);
  assert.deepEqual(state.frame.rows, [0, { a: null }]);
  assert.equal(state.text, "__buffer__");
});

test("planes give one cell's numbers", () => {
  const data = Float32Array.from({ length: 12 }, (_, i) => i);
  const planes = { labels: ["a", "b"], shape: [2, 3, 2] as [number, number, number], data, formats: [".2f", ".2f"] };
  assert.deepEqual([...planeValues(planes, 1, 2)], [10, 11]);
});

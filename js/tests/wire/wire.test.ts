import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, float32, revive, uint32 } from "../../lib/wire/wire";
import { numbers, shifted } from "../frame";

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

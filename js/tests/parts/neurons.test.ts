// The table of neurons: order and search.
import assert from "node:assert/strict";
import { test } from "node:test";
import { matches, ordered } from "../../lib/parts/neuron_table";

test("what is not finite comes last, whichever way; equal ones stay as they stand", () => {
  const values = Float32Array.of(2, Number.NaN, 5, 2, -1, Number.NEGATIVE_INFINITY);
  assert.deepEqual([...ordered(values, true)], [2, 0, 3, 4, 1, 5]);
  assert.deepEqual([...ordered(values, false)], [4, 0, 3, 2, 1, 5]);
  assert.deepEqual([...ordered(new Float32Array(), true)], []);
});

test("a neuron is found by its number, by layer and number, and by a piece of a token", () => {
  const words = "\u00b7Mary \u00b7John 1984";
  for (const typed of ["28", "3.28", "3.", "3.2", "mary", "John", " john", "1984", "  28 "])
    assert.ok(matches("3.28", words, typed), typed);
  for (const typed of ["2", "7", "13.28", ".28", "Anna", "3.29", "johnx"])
    assert.ok(!matches("3.28", words, typed), typed);
});

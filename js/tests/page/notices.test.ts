import assert from "node:assert/strict";
import { test } from "node:test";
import { noticesOf, type Situation } from "../../lib/page/notices";

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

test("a failed check of one of several things says of which", () => {
  assert.match(noticesOf(calm, [{ ...red, of: "layer 3" }])[0]!.text, /^layer 3: /);
});

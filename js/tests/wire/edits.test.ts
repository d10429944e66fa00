import assert from "node:assert/strict";
import { test } from "node:test";
import { Edits } from "../../lib/wire/edits";
import type { Place } from "../../lib/wire/model";

const A: Place = [2, 5];
const B: Place = [0, 1];
const ROW: Place = [2, null];
const states = (edits: Edits, confirmed: Place[] = []) =>
  edits.shown(confirmed).map(({ place, state }) => [...place, state]);

test("a click is shown at once, sent, and becomes Python's", () => {
  const edits = new Edits();
  edits.toggle(A, []);
  assert.deepEqual(states(edits), [[2, 5, "coming"]]);
  const request = edits.request();
  assert.deepEqual(request, { kind: "edit", batch: 0, on: [A], off: [], drop: [] });
  assert.deepEqual(states(edits, [A]), [[2, 5, "on"]]); // the trait comes before the answer
  edits.settle(request);
  assert.deepEqual(states(edits, [A]), [[2, 5, "on"]]);
  assert.deepEqual(edits.request().on, []);
});

test("a second click on a cell takes it off again, also one that Python has", () => {
  const edits = new Edits();
  edits.toggle(A, [A]);
  assert.deepEqual(states(edits, [A]), [[2, 5, "going"]]);
  assert.deepEqual(edits.request().off, [A]);
  edits.toggle(A, [A]);
  assert.deepEqual(states(edits, [A]), [[2, 5, "on"]]);
  // An earlier message may be on its way, so what Python says already is said again.
  assert.deepEqual([edits.request().on, edits.request().off], [[A], []]);
});

test("a whole row is a cell of its own, beside the cells in it", () => {
  const edits = new Edits();
  edits.toggle(ROW, [A]);
  assert.deepEqual(states(edits, [A]), [
    [2, 5, "on"],
    [2, null, "coming"],
  ]);
  assert.deepEqual(edits.request().on, [ROW]);
});

test("a region is switched on, and off only where all of it is on", () => {
  const edits = new Edits();
  edits.fill([A, B], [A]);
  assert.deepEqual([edits.request().on, edits.request().off], [[B], []]);
  edits.settle(edits.request());
  edits.fill([A, B], [A, B]);
  assert.deepEqual([edits.request().on, edits.request().off], [[], [A, B]]);
});

test("each message carries all that is not confirmed, so that a later one may replace an earlier one", () => {
  const edits = new Edits();
  edits.toggle(A, []);
  const first = edits.request();
  edits.toggle(B, []);
  edits.drop("chip");
  const second = edits.request();
  assert.deepEqual([second.on, second.drop], [[A, B], ["chip"]]);
  edits.settle(first); // a second one is under way
  assert.deepEqual(edits.request().on, [B]);
  assert.ok(edits.isDropped("chip"));
  edits.settle(second);
  assert.ok(!edits.isDropped("chip"));
  assert.deepEqual(states(edits), []);
});

test("the answer to an old message does not undo what was clicked since", () => {
  const edits = new Edits();
  edits.toggle(A, []);
  const first = edits.request();
  edits.toggle(A, []); // on its way to Python, and unwanted already
  assert.deepEqual(states(edits), []);
  edits.settle(first);
  assert.deepEqual(edits.request().off, [A]);
  assert.deepEqual(states(edits, [A]), [[2, 5, "going"]]);
});

test("fifty clicks all count", () => {
  const edits = new Edits();
  const places = Array.from({ length: 50 }, (_, n): Place => [n % 5, Math.floor(n / 5)]);
  for (const place of places) edits.toggle(place, []);
  assert.deepEqual(edits.request().on, places);
  for (let n = 0; n < 49; n++) edits.toggle(A, []);
  assert.equal(edits.request().on.length, 50 - 1); // it was among them: on, then 49 times changed
});

test("after something else was asked for, clicks are a message of their own", () => {
  const edits = new Edits();
  edits.toggle(A, []);
  const before = edits.request();
  edits.begin(); // say, another kind of ablation was chosen
  edits.toggle(B, []);
  const after = edits.request();
  assert.deepEqual([before.on, after.on], [[A], [B]]);
  assert.notEqual(before.batch, after.batch);
  assert.deepEqual(states(edits), [
    [2, 5, "coming"],
    [0, 1, "coming"],
  ]);
  edits.settle(after);
  assert.deepEqual(states(edits), [[2, 5, "coming"]]);
});

test("a refused message takes its own cells off the screen, and no others", () => {
  const edits = new Edits();
  edits.toggle(A, []);
  const refused = edits.request();
  edits.begin();
  edits.toggle(B, []);
  edits.settle(refused);
  assert.deepEqual(states(edits), [[0, 1, "coming"]]);
  assert.deepEqual(edits.request().on, [B]);
  edits.clear();
  assert.deepEqual(states(edits), []);
});

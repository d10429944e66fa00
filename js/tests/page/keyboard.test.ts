import assert from "node:assert/strict";
import { test } from "node:test";
import { historyKey, type KeyField, keyAction, PAGE_ROWS } from "../../lib/page/keyboard";

const field = (over: Partial<KeyField> = {}): KeyField => ({
  rows: 12,
  cols: 40,
  page: 15,
  cursor: { row: 5, col: 7 },
  ...over,
});
const moved = (key: string, over: Partial<KeyField> = {}, ctrlKey = false) => {
  const action = keyAction({ key, ctrlKey }, field(over));
  assert.equal(action?.kind, "move");
  return action?.kind === "move" ? [action.to.row, action.to.col] : null;
};

test("arrows move by one; up is towards the output", () => {
  assert.deepEqual(moved("ArrowUp"), [6, 7]);
  assert.deepEqual(moved("ArrowDown"), [4, 7]);
  assert.deepEqual(moved("ArrowLeft"), [5, 6]);
  assert.deepEqual(moved("ArrowRight"), [5, 8]);
});

test("no key leaves the grid", () => {
  const corners = [
    { row: 0, col: 0 },
    { row: 11, col: 39 },
  ];
  for (const cursor of corners)
    for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"])
      for (const ctrl of [false, true]) {
        const [row, col] = moved(key, { cursor }, ctrl)!;
        assert.ok(row! >= 0 && row! < 12 && col! >= 0 && col! < 40, key);
      }
});

test("Home, End and the page keys", () => {
  assert.deepEqual(moved("Home"), [5, 0]);
  assert.deepEqual(moved("End"), [5, 39]);
  assert.deepEqual(moved("Home", {}, true), [11, 0]);
  assert.deepEqual(moved("End", {}, true), [0, 39]);
  assert.deepEqual(moved("PageUp", { rows: 48 }), [5 + PAGE_ROWS, 7]);
  assert.deepEqual(moved("PageDown"), [0, 7]);
  assert.deepEqual(moved("ArrowRight", {}, true), [5, 22]);
  assert.deepEqual(moved("ArrowUp", {}, true), [11, 7]);
});

test("the first arrow shows a cursor, Enter on nothing shows one instead of selecting", () => {
  assert.deepEqual(moved("ArrowDown", { cursor: null }), [11, 0]);
  assert.deepEqual(moved("Enter", { cursor: null }), [11, 0]);
});

test("Enter and Space select, Escape resets, plus and minus zoom", () => {
  assert.deepEqual(keyAction({ key: "Enter" }, field()), { kind: "select" });
  assert.deepEqual(keyAction({ key: " " }, field()), { kind: "select" });
  assert.deepEqual(keyAction({ key: "Escape" }, field({ cursor: null })), { kind: "reset" });
  assert.deepEqual(keyAction({ key: "+" }, field()), { kind: "zoom", by: "in" });
  assert.deepEqual(keyAction({ key: "0" }, field()), { kind: "zoom", by: "auto" });
});

test("what is not ours is left to the page", () => {
  for (const press of [
    { key: "Tab" },
    { key: "a" },
    { key: "d" },
    { key: "s", ctrlKey: true },
    { key: "+", ctrlKey: true },
    { key: "ArrowUp", metaKey: true },
    { key: "Enter", altKey: true },
  ])
    assert.equal(keyAction(press, field()), null, press.key);
  assert.equal(keyAction({ key: "ArrowUp" }, field({ cols: 0 })), null);
});

test("Ctrl or Cmd with Z takes back, with Shift or Y does again", () => {
  assert.equal(historyKey({ key: "z", ctrlKey: true }), "undo");
  assert.equal(historyKey({ key: "z", metaKey: true }), "undo");
  assert.equal(historyKey({ key: "Z", ctrlKey: true, shiftKey: true }), "redo");
  assert.equal(historyKey({ key: "y", ctrlKey: true }), "redo");
  for (const press of [{ key: "z" }, { key: "z", ctrlKey: true, altKey: true }, { key: "x", ctrlKey: true }])
    assert.equal(historyKey(press), null);
});

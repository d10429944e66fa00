import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAs, numberText, tickText } from "../../lib/canvas/number";
import { broken, ellipsize, graphemes, monospaceMeasure, printable, wrapped } from "../../lib/canvas/text";

const tenEach = (text: string) => graphemes(text).length * 10;

test("what could hide or move its neighbours is written out", () => {
  assert.equal(printable("a\u202eb"), "a⟨U+202E⟩b");
  assert.equal(printable("\u0000\u0007"), "⟨U+0000⟩⟨U+0007⟩");
  assert.equal(printable("line\u2028sep"), "line⟨U+2028⟩sep");
});

test("ordinary text, HTML, right-to-left letters and joined emoji stay as they are", () => {
  for (const text of ["<script>alert(1)</script>", '"it\'s"', "·שלום", "👩‍👩‍👧", "⟨U+200B⟩", "日本語", "é"])
    assert.equal(printable(text), text);
});

test("long text is cut to fit, between characters as people see them", () => {
  assert.equal(ellipsize("short", 50, tenEach), "short");
  assert.equal(ellipsize("residual", 50, tenEach), "resi…");
  assert.equal(ellipsize("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", 20, tenEach), "👩‍👩‍👧…");
  assert.equal(ellipsize("residual", 10, tenEach), "");
  for (let width = 0; width < 120; width += 7)
    assert.ok(tenEach(ellipsize("residual stream", width, tenEach)) <= Math.max(width, 0));
});

test("a word goes on in further lines, as many as there is room for, and is cut in the last", () => {
  assert.deepEqual(broken("short", 50, 3, tenEach), ["short"]);
  assert.deepEqual(broken("encyclopaedia", 50, 3, tenEach), ["encyc", "lopae", "dia"]);
  assert.deepEqual(broken("encyclopaedia", 50, 2, tenEach), ["encyc", "lopa\u2026"]);
  assert.deepEqual(broken("encyclopaedia", 50, 1, tenEach), ["ency\u2026"]);
  assert.deepEqual(broken("👩‍👩‍👧👩‍👩‍👧", 10, 2, tenEach), ["👩‍👩‍👧", "👩‍👩‍👧"]);
  assert.deepEqual(broken("", 50, 2, tenEach), []);
});

test("a label goes on in further lines, and whole words stay whole", () => {
  const label = "value of dimension 3 (activation units)";
  assert.deepEqual(wrapped(label, 230, 3, tenEach), ["value of dimension 3", "(activation units)"]);
  assert.deepEqual(wrapped(label, 1000, 3, tenEach), [label]);
  assert.deepEqual(wrapped(label, 10, 3, tenEach), ["value", "of", "dimension 3 (activation units)"]);
  assert.deepEqual(wrapped("word", 10, 3, tenEach), ["word"]);
});

test("monospace text is counted, other text measured once", () => {
  const calls: string[] = [];
  const measure = monospaceMeasure((text) => {
    calls.push(text);
    return text.length * 7;
  });
  assert.equal(measure("·token"), 42);
  measure("日本");
  measure("日本");
  assert.deepEqual(calls.slice(1), ["日本"]);
});

test("numbers for people", () => {
  assert.equal(numberText(71.42), "71.4");
  assert.equal(numberText(0), "0");
  assert.equal(numberText(22664), "22664");
  assert.equal(numberText(-0.054951), "−0.0550");
  assert.equal(numberText(2.3e-7), "2.30e-7");
  assert.equal(numberText(1.5e9), "1.50e9");
  assert.equal(numberText(Number.NaN), "NaN");
  assert.equal(numberText(Number.NEGATIVE_INFINITY), "−∞");
  assert.equal(numberText(0.9999, 3), "1.000");
  assert.equal(tickText(0.5), "0.5");
  assert.equal(tickText(100), "100");
  assert.equal(tickText(20), "20");
  assert.equal(tickText(-1), "−1");
});

test("Python's formats give Python's text", () => {
  // Each pair as printed by Python's format().
  for (const [spec, value, text] of [
    [".3g", 71.42, "71.4"],
    [".3g", 0.00001234, "1.23e-05"],
    [".3g", 1234567, "1.23e+06"],
    [".3g", 100, "100"],
    [".3g", 0.5, "0.5"],
    [".2f", 0.634, "0.63"],
    ["{:.2f}", 3, "3.00"],
    [".1%", 0.4567, "45.7%"],
    [",d", 1234567, "1,234,567"],
    [",.1f", 12345.67, "12,345.7"],
    [".1e", 12345, "1.2e+04"],
    ["+.2f", 0.5, "+0.50"],
    ["d", 17, "17"],
    [".0f", 2.6, "3"],
  ] as const)
    assert.equal(formatAs(spec, value), text, spec);
  assert.equal(formatAs(".2f", -1.5), "−1.50");
  assert.equal(formatAs(".2f", Number.NaN), "NaN");
  assert.equal(formatAs("nonsense", 1.5), "1.50");
});

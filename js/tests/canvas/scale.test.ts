import assert from "node:assert/strict";
import { test } from "node:test";
import { BAD, indexer, luminance, OVER, palette, STEPS, scaleLabel, ticks, UNDER } from "../../lib/canvas/scale";
import type { Scale } from "../../lib/wire/model";

const scale = (over: Partial<Scale> = {}): Scale => ({
  kind: "sequential",
  low: 10,
  high: 20,
  under: false,
  over: true,
  label: "norm",
  units: "",
  ...over,
});

test("limits, middle, beyond and not-a-number have places of their own", () => {
  const index = indexer(scale());
  assert.equal(index(10), 0);
  assert.equal(index(20), STEPS - 1);
  assert.equal(index(15), STEPS / 2);
  assert.equal(index(9.9), UNDER);
  assert.equal(index(20.1), OVER);
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) assert.equal(index(odd), BAD);
});

test("a cell at a limit is not beyond it by rounding", () => {
  const limit = 22664.19;
  const index = indexer(scale({ low: 0, high: limit }));
  assert.equal(index(Math.fround(limit) * (1 + 1e-7)), STEPS - 1);
  assert.equal(index(limit * 1.001), OVER);
});

test("the index grows with the value and stays in the table", () => {
  const index = indexer(scale({ kind: "diverging", low: -3, high: 3 }));
  let before = -1;
  for (let value = -3; value <= 3; value += 0.01) {
    const place = index(value);
    assert.ok(place >= before && place < STEPS, `${value} -> ${place}`);
    before = place;
  }
  assert.equal(index(0), STEPS / 2);
});

test("a constant picture is drawn, one without finite values is all BAD", () => {
  assert.equal(indexer(scale({ low: 5, high: 5 }))(5), STEPS / 2);
  const none = indexer(scale({ low: null, high: null }));
  assert.equal(none(1), BAD);
  assert.deepEqual(ticks(scale({ low: null, high: null }), 200), []);
});

test("viridis runs from its first to its last colour", () => {
  const { css } = palette("sequential", false);
  assert.equal(css[0], "rgb(68,1,84)");
  assert.equal(css[STEPS - 1], "rgb(253,231,37)");
});

test("diverging: blue below, red above, the centre follows the theme", () => {
  for (const dark of [false, true]) {
    const { css } = palette("diverging", dark);
    assert.equal(css[0], "rgb(33,102,172)");
    assert.equal(css[STEPS - 1], "rgb(178,24,43)");
    const [r, g, b] = css[STEPS / 2]!.match(/\d+/g)!.map(Number) as [number, number, number];
    assert.ok(dark ? luminance([r, g, b]) < 0.03 : luminance([r, g, b]) > 0.85, css[STEPS / 2]);
  }
});

test("pixels are the same colours as the CSS ones, opaque", () => {
  const { pixels, css } = palette("diverging", true);
  const raw = new Uint8ClampedArray(pixels.buffer);
  for (const place of [0, 100, STEPS - 1, UNDER, OVER, BAD]) {
    const [r, g, b, a] = raw.subarray(place * 4, place * 4 + 4);
    assert.equal(`rgb(${r},${g},${b})`, css[place]);
    assert.equal(a, 255);
  }
});

test("odd values never share a colour with an ordinary one", () => {
  for (const kind of ["sequential", "diverging"] as const)
    for (const dark of [false, true]) {
      const { css } = palette(kind, dark);
      const steps = new Set(css.slice(0, STEPS));
      for (const place of [UNDER, OVER, BAD]) assert.ok(!steps.has(css[place]!), `${kind} ${dark} ${place}`);
    }
});

test("ink in cells always has a contrast of 4.5 or more", () => {
  for (const kind of ["sequential", "diverging"] as const)
    for (const dark of [false, true]) {
      const { css, darkInk } = palette(kind, dark);
      css.forEach((colour, i) => {
        const rgb = colour.match(/\d+/g)!.map(Number) as [number, number, number];
        const ground = luminance(rgb) + 0.05;
        const ink = (darkInk[i] ? 0 : 1) + 0.05;
        const contrast = Math.max(ground, ink) / Math.min(ground, ink);
        assert.ok(contrast >= 4.5, `${colour}: ${contrast}`);
      });
    }
});

test("ticks: both ends always, with signs where cells lie beyond, none touching", () => {
  for (const [low, high] of [
    [12, 118],
    [-1, 1],
    [0, 1e-5],
    [-3e6, 3e6],
    [4.2, 4.3],
  ] as const)
    for (const pixels of [72, 144, 300, 700]) {
      const marks = ticks(scale({ low, high, under: true }), pixels);
      assert.match(marks[0]!.text, /^≤ /);
      assert.match(marks.at(-1)!.text, /^≥ /);
      for (let i = 1; i < marks.length; i++)
        assert.ok((marks[i]!.at - marks[i - 1]!.at) * pixels >= 14, `${low} ${pixels}`);
    }
  assert.equal(ticks(scale({ low: -1, high: 1, over: false }), 240).find((t) => t.at === 0.5)?.text, "0");
});

test("the label carries the unit", () => {
  assert.equal(scaleLabel(scale({ units: "nats" })), "norm (nats)");
  assert.equal(scaleLabel(scale()), "norm");
});

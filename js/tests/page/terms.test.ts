import assert from "node:assert/strict";
import { test } from "node:test";
import { termsIn } from "../../lib/page/terms";
import { signsOf } from "../../lib/parts/grid_signs";
import { gridOf } from "../../lib/wire/grid";
import { heatmapOf } from "../frame";

const words = (text: string): string[] => termsIn(text).map(([sign]) => sign);

test("the words that a widget uses are explained, and no others", () => {
  assert.deepEqual(words("Logit lens · resid_post, entropy (nats)"), [
    "resid_pre, resid_mid, resid_post",
    "entropy",
    "logit lens",
  ]);
  assert.deepEqual(words("Patching · denoise · z"), ["effect", "denoise", "patch"]);
  assert.deepEqual(words("a plain sentence"), []);
  for (const [, meaning] of termsIn("rank KL cosine kurtosis mlp_post resample auroc selectivity shuffled"))
    assert.match(meaning, /^[A-Z].*\.$/);
});

test("the signs that are on show are explained, and no others", () => {
  assert.deepEqual(signsOf(gridOf(heatmapOf({ data: new Float32Array(6).buffer, marked: [] }))), []);
  const data = new Float32Array([1, Number.NaN, 3, 4, 5, 6]).buffer;
  const over = { ...heatmapOf().scale, over: true };
  const odd = heatmapOf({ data, tokens: ["\u00b7the", "a", "b"], marked: [0], unknown: [1], scale: over });
  const signs = signsOf(gridOf(odd)).map(([sign]) => sign);
  assert.deepEqual(signs, ["\u00b7", "hatched", "amber, underlined", "\u25e5", "\u2715"]);
});

// Which bars are on show and where, the scale they share, keys, and the files that a page without a kernel leaves.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Colours } from "../../lib/dom/theme";
import { treeKey } from "../../lib/parts/tree_keys";
import {
  type Bar,
  domain,
  joints,
  selected,
  signedIn,
  ticks,
  visible,
  type WaterfallData,
  waterfallCsv,
  whisker,
} from "../../lib/parts/waterfall_layout";
import { waterfallSvg } from "../../lib/parts/waterfall_svg";

const bar = (key: string, depth: number, start: number, value: number, more: Partial<Bar> = {}): Bar => ({
  ...{ key, name: key, told: ["", key, ""], at: { part: key }, depth, start, value, low: null, high: null, opens: "" },
  ...more,
});

const data: WaterfallData = {
  label: "logit difference",
  units: "logits",
  shape: "waterfall",
  prompts: 1,
  bars: [
    bar("embed", 0, 0, 1),
    bar("layer.0", 0, 1, -3, { opens: "known", at: { layer: 0 } }),
    bar("0.attn_out", 1, 1, -4, { opens: "known", at: { layer: 0, component: "attn_out" } }),
    bar("0.head.0", 2, 1, -4, { opens: "ask", at: { layer: 0, head: 0 } }),
    bar("0.mlp_out", 1, -3, 1, { at: { layer: 0, component: "mlp_out" } }),
    bar("bias", 0, -2, 7),
    bar("total", 0, 0, 5),
  ],
};
const keys = (opened: string[]) => visible(data, new Set(opened)).map(({ key }) => key);
const all = visible(data, new Set(["layer.0", "0.attn_out"]));

test("what is in a closed bar is not on show, also where a bar within it is open", () => {
  assert.deepEqual(keys([]), ["embed", "layer.0", "bias", "total"]);
  assert.deepEqual(keys(["0.attn_out"]), ["embed", "layer.0", "bias", "total"]);
  assert.deepEqual(keys(["layer.0"]), ["embed", "layer.0", "0.attn_out", "0.mlp_out", "bias", "total"]);
  assert.equal(all.length, 7);
  assert.deepEqual(
    all.map(({ parent, place, siblings }) => [parent, place, siblings]),
    [
      [null, 1, 4],
      [null, 2, 4],
      ["layer.0", 1, 2],
      ["0.attn_out", 1, 1],
      ["layer.0", 2, 2],
      [null, 3, 4],
      [null, 4, 4],
    ],
  );
});

test("a waterfall's bars begin where the ones before them end; others begin at zero", () => {
  assert.deepEqual(
    all.map(({ from, to }) => [from, to]),
    [
      [0, 1],
      [1, -2],
      [1, -3],
      [1, -3],
      [-3, -2],
      [-2, 5],
      [0, 5],
    ],
  );
  assert.deepEqual(joints(all, "waterfall"), [
    [1, 0, 1],
    [-2, 1, 5],
    [-3, 2, 4],
    [5, 5, 6],
  ]);
  const flat = visible({ ...data, shape: "bars" }, new Set());
  assert.deepEqual(
    flat.map(({ from, to }) => [from, to]),
    [
      [0, 1],
      [0, -3],
      [0, 7],
      [0, 5],
    ],
  );
  assert.deepEqual(joints(flat, "bars"), []);
});

test("zero, all bars and all whiskers are on the scale", () => {
  assert.deepEqual(domain(all), [-3, 5]);
  assert.deepEqual(domain([]), [0, 1]);
  const sure = visible({ ...data, bars: [bar("total", 0, 2, 1, { low: -4, high: 6 })] }, new Set());
  assert.deepEqual(whisker(sure[0]!), [-2, 8]);
  assert.deepEqual(domain(sure), [-2, 8]);
  assert.deepEqual(ticks([-1.8, 8.25], 5), [0, 2, 4, 6, 8]);
  assert.deepEqual(ticks([-0.02, 0.031], 5), [-0.02, -0.01, 0, 0.01, 0.02, 0.03]);
});

test("numbers have as many places as the largest of them asks for; what rounds to nothing has no sign", () => {
  const told = signedIn([{ value: 8.25 }, { value: -5e-13 }]);
  assert.deepEqual([8.25, -0.014, -5e-13, 0].map(told), ["+8.25", "\u22120.01", "0.00", "0.00"]);
  assert.equal(signedIn([{ value: 0.031 }])(0.0312), "+0.0312");
  assert.equal(signedIn([{ value: 4321 }])(-17.2), "\u221217");
  assert.equal(signedIn([{ value: 0 }])(0), "0.00");
});

test("the bar on show that says most of an address is selected; what it does not know is ignored", () => {
  assert.equal(selected(all, { layer: 0, head: 0, pos: 3 })?.key, "0.head.0");
  assert.equal(selected(all, { layer: 0, head: 0, component: "attn_out" })?.key, "0.head.0");
  assert.equal(selected(all, { layer: 0, head: 5 })?.key, "layer.0");
  assert.equal(selected(all, { layer: 9 }), null);
  assert.equal(selected(all, {}), null);
});

test("arrows move, open and close; Enter acts, Space selects, Esc resets; shortcuts are the page's", () => {
  const at = (key: string) => all.find((each) => each.key === key)!;
  const press = (key: string, from: string) => treeKey({ key }, all, at(from));
  assert.deepEqual(press("ArrowDown", "embed"), { kind: "move", to: "layer.0" });
  assert.deepEqual(press("ArrowUp", "embed"), { kind: "move", to: "embed" });
  assert.deepEqual(press("End", "embed"), { kind: "move", to: "total" });
  assert.deepEqual(press("ArrowRight", "0.head.0"), { kind: "toggle", open: true });
  assert.deepEqual(press("ArrowRight", "layer.0"), { kind: "move", to: "0.attn_out" });
  assert.deepEqual(press("ArrowRight", "embed"), { kind: "move", to: "embed" });
  assert.deepEqual(press("ArrowLeft", "layer.0"), { kind: "toggle", open: false });
  assert.deepEqual(press("ArrowLeft", "0.head.0"), { kind: "move", to: "0.attn_out" });
  assert.deepEqual(press("ArrowLeft", "bias"), { kind: "move", to: "bias" });
  assert.deepEqual(press("Enter", "bias"), { kind: "act" });
  assert.deepEqual(press(" ", "bias"), { kind: "select" });
  assert.deepEqual(press("Escape", "bias"), { kind: "reset" });
  assert.equal(press("d", "bias"), null);
  assert.equal(treeKey({ key: "ArrowDown", ctrlKey: true }, all, at("bias")), null);
});

test("table and picture have the bars on show, their texts as text", () => {
  const odd = '<b>"&", \u202e</b>';
  const shown = visible(
    { ...data, bars: [bar("a", 0, 0, 2, { name: odd, low: 1, high: 3 }), bar("total", 0, 0, 2)] },
    new Set(),
  );
  const table = waterfallCsv(data, shown);
  assert.equal(table.split("\n")[0], "part,name,depth,value (logits),start,low,high");
  assert.equal(table.split("\n")[1], 'a,"<b>""&"", \u27e8U+202E\u27e9</b>",0,2,0,1,3');
  const colours = { bg: "#fff", ink: "#000", dim: "#666", line: "#ddd", accent: "#00f", mono: "monospace" } as Colours;
  const svg = waterfallSvg(data, shown, colours, (text) => 6 * text.length);
  assert.ok(svg.includes("&lt;b&gt;&quot;&amp;&quot;"), svg);
  assert.ok(!svg.includes("NaN") && !svg.includes("\u202e"));
  assert.equal(svg.match(/rx="1.5"/g)?.length, 2);
});

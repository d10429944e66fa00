import assert from "node:assert/strict";
import { test } from "node:test";
import { layout } from "../../lib/canvas/layout";
import { palette } from "../../lib/canvas/scale";
import { svgOf } from "../../lib/canvas/svg";
import { decode } from "../../lib/wire/grid";
import { heatmapOf } from "../frame";

const colours = {
  bg: "#fff",
  ink: "#000",
  dim: "#666",
  line: "#ddd",
  accent: "#00f",
  amber: "#a60",
  sans: "sans",
  mono: "mono",
  dark: false,
};
const measure = (text: string) => 7 * text.length;

function drawn(width: number): string {
  const grid = decode(heatmapOf({ tokens: ["<bos>", '"&', "c"] }));
  const input = {
    width,
    rows: 2,
    cols: 3,
    zoom: 60,
    dpr: 1,
    text: false,
    labelWidth: 35,
    rowLabelWidth: 7,
    barWidth: 60,
  };
  const [at, table] = [layout(input), palette("sequential", false)];
  return svgOf({ grid, at, palette: table, colours, measure, selected: { row: null, col: null } });
}

test("every cell is drawn once in its colour, also those out of view; text is text", () => {
  const svg = drawn(1000);
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  const cells = svg.match(/<rect [^>]*width="59"/g) ?? [];
  assert.equal(cells.length, 6);
  assert.match(svg, />&lt;bos&gt;</);
  assert.match(svg, />&quot;&amp;</);
  assert.equal((drawn(150).match(/<rect [^>]*width="59"/g) ?? []).length, 6, "a narrow view scrolls; the file has all");
});

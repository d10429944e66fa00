// The open head as SVG text: every cell a shape, every label text; of very many positions only what can be told apart.
import { FONT } from "../canvas/paint";
import { indexer, scaleLabel, ticks } from "../canvas/scale";
import { escaped, tag } from "../canvas/svg";
import { labelled, lookUpWindow, MATRIX, type MatrixLayout } from "./matrix_layout";
import { labelOf, type MatrixScene } from "./matrix_paint";

/** All of it, whatever the window shows. */
export function matrixSvg(scene: MatrixScene, whole: MatrixLayout, title: string): string {
  const { picture, palette, colours, measure } = scene;
  const at = whole;
  const { view } = at;
  const found = lookUpWindow(picture.values, at, { x: 0, y: 0 }, 1, picture.causal, indexer(picture.scale));
  const [w, h] = [view.w / found.width, view.h / found.height];
  const parts = [tag("rect", { width: at.width, height: at.height + 20, fill: colours.bg })];
  found.places.forEach((place, i) => {
    if (place < 0) return;
    const [x, y] = [view.x + (i % found.width) * w, view.y + Math.floor(i / found.width) * h];
    parts.push(tag("rect", { x, y, width: w - at.gap, height: h - at.gap, fill: palette.css[place]! }));
  });
  const mono = { "font-family": colours.mono, "dominant-baseline": "middle" };
  const ink = (pos: number) => (picture.marked.has(pos) ? colours.dim : colours.ink);
  for (const q of labelled(0, at.n - 1, at.rowStep, [])) {
    const y = view.y + (q + 0.5) * at.cell;
    const text = escaped(labelOf(picture, q, measure));
    parts.push(tag("text", { x: view.x - 8, y, "text-anchor": "end", fill: ink(q), ...mono }, text));
  }
  for (const k of labelled(0, at.n - 1, at.colStep, [])) {
    const [x, y] = [view.x + (k + 0.5) * at.cell - 2, view.y + view.h + 9];
    const turned = { transform: `rotate(${MATRIX.angle} ${x} ${y})` };
    parts.push(tag("text", { x, y, fill: ink(k), ...mono, ...turned }, escaped(labelOf(picture, k, measure))));
  }
  const ends = ticks(picture.scale, 100).map(({ text }) => text);
  const said = `${title}, ${scaleLabel(picture.scale)}: ${ends[0] ?? ""} to ${ends.at(-1) ?? ""}`;
  parts.push(tag("text", { x: 8, y: at.height + 10, fill: colours.dim }, escaped(said)));
  const size = { width: at.width, height: at.height + 20, "font-size": FONT, "font-family": colours.sans };
  return tag("svg", { xmlns: "http://www.w3.org/2000/svg", ...size }, parts.join("\n"));
}

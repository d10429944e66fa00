// A heat map as SVG text: every cell a shape, every label text. The same layout and colours as on the canvas.
import type { Grid } from "../wire/grid";
import { LABEL_CAP } from "./axes";
import type { Layout } from "./layout";
import { FONT, type Scene } from "./paint";
import { BAD, indexer, STEPS, scaleLabel, ticks } from "./scale";
import { ellipsize, printable } from "./text";

export const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);
const n = (value: number): string => String(Math.round(value * 100) / 100);

/** An element in text; of attributes, numbers are rounded to hundredths. */
export const tag = (name: string, attributes: Record<string, string | number>, inside = ""): string => {
  const said = Object.entries(attributes).map(([key, v]) => ` ${key}="${typeof v === "number" ? n(v) : escaped(v)}"`);
  return `<${name}${said.join("")}>${inside}</${name}>`;
};

/** All of the picture, also the columns that are scrolled out of view. */
export function svgOf(scene: Omit<Scene, "scroll" | "dpr">): string {
  const { grid, at, colours, palette } = scene;
  const extra = at.content - at.view.w;
  const [width, height] = [at.width + Math.max(0, extra), at.height];
  const parts = [
    tag("rect", { width, height, fill: colours.bg }),
    ...cells(grid, at, palette.css),
    ...labels(scene),
    ...bar(scene, at.view.x + at.content + 16),
  ];
  const size = { viewBox: `0 0 ${n(width)} ${n(height)}`, width, height, "font-size": FONT };
  return tag("svg", { xmlns: "http://www.w3.org/2000/svg", ...size, "font-family": colours.sans }, parts.join("\n"));
}

/** Neighbours of one colour are one shape; what is no number is crossed, what is marked is hatched. */
function cells(
  { rows, cols, values, data, marked }: Grid,
  { view, cell, gap }: Layout,
  css: readonly string[],
): string[] {
  const index = indexer(data.scale);
  const out: string[] = [];
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++) {
      const place = index(values[row * cols + col]!);
      const x = view.x + col * cell.w;
      const y = view.y + (rows - 1 - row) * cell.h;
      const [w, h] = [cell.w - gap, cell.h - gap];
      out.push(tag("rect", { x, y, width: w, height: h, fill: css[place]! }));
      if (place === BAD) out.push(line(x, y, x + w, y + h), line(x, y + h, x + w, y));
      if (marked.has(col)) out.push(line(x, y + h, x + Math.min(w, h), y + h - Math.min(w, h)));
    }
  return out;
}

const line = (x1: number, y1: number, x2: number, y2: number): string =>
  tag("line", { x1, y1, x2, y2, stroke: "#808080", "stroke-width": 1 });

function labels({ grid, at, colours, measure }: Omit<Scene, "scroll" | "dpr">): string[] {
  const { view, cell, angle } = at;
  const middle = { fill: colours.dim, "dominant-baseline": "middle" };
  const out: string[] = [];
  for (let row = 0; row < at.rows; row += at.rowStep) {
    const y = view.y + (at.rows - 1 - row + 0.5) * cell.h;
    out.push(tag("text", { x: view.x - 8, y, "text-anchor": "end", ...middle }, String(grid.data.rows[row])));
  }
  const y = view.y + view.h + (angle ? 9 : 12);
  for (let col = 0; col < at.cols; col += at.colStep) {
    const x = view.x + (col + 0.5) * cell.w - (angle ? 3 : 0);
    const text = ellipsize(printable(grid.data.tokens[col] ?? ""), angle ? LABEL_CAP : cell.w, measure);
    const turned = angle ? { transform: `rotate(${angle} ${n(x)} ${n(y)})` } : { "text-anchor": "middle" };
    out.push(
      tag("text", { x, y, ...middle, fill: colours.ink, "font-family": colours.mono, ...turned }, escaped(text)),
    );
  }
  const [x, centre] = [11, view.y + view.h / 2];
  const turned = { transform: `rotate(-90 ${x} ${n(centre)})`, "text-anchor": "middle" };
  return [...out, tag("text", { x, y: centre, ...middle, ...turned }, escaped(grid.data.row_name))];
}

function bar({ grid, at, colours, palette }: Omit<Scene, "scroll" | "dpr">, x: number): string[] {
  const { scale } = grid.data;
  const { y, h } = at.view;
  const marks = ticks(scale, h);
  if (!marks.length) return [];
  const steps = Array.from({ length: STEPS }, (_, i) =>
    tag("rect", { x, y: y + h - ((i + 1) * h) / STEPS, width: 11, height: h / STEPS + 0.3, fill: palette.css[i]! }),
  );
  const middle = { fill: colours.dim, "dominant-baseline": "middle" };
  const texts = marks.map(({ at: place, text }) =>
    tag("text", { x: x + 17, y: Math.min(Math.max(y + (1 - place) * h, y + 5), y + h - 5), ...middle }, escaped(text)),
  );
  const [left, centre] = [x + 62, y + h / 2];
  const turned = { transform: `rotate(-90 ${n(left)} ${n(centre)})`, "text-anchor": "middle" };
  return [...steps, ...texts, tag("text", { x: left, y: centre, ...middle, ...turned }, escaped(scaleLabel(scale)))];
}

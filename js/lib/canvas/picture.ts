// The two canvases of a plot: lays the picture out, draws it, and draws outlines over it. No events, no model.

import { h } from "../dom/dom";
import type { Colours } from "../dom/theme";
import type { Chosen, Grid } from "../wire/grid";
import { barWidth, drawBar, drawCols, drawRows, labelWidth } from "./axes";
import { cellHeight, type Layout, layout, type Marks, type Zoom } from "./layout";
import { drawOutlines } from "./outlines";
import { CellPainter, FONT, type Scene } from "./paint";
import { palette } from "./scale";
import { svgOf } from "./svg";
import { type Measure, monospaceMeasure } from "./text";

export const density = (): number => globalThis.devicePixelRatio || 1;

export class Picture {
  readonly base = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly over = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #painter = new CellPainter();
  readonly #scratch = document.createElement("canvas");
  #colours: Colours | null = null;
  #measure: Measure | null = null;
  /** The layout of the last drawing. */
  at: Layout | null = null;
  /** Whether the last drawing put several cells into one pixel. */
  binned = false;

  recolour(colours: Colours): void {
    this.#colours = colours;
    this.#measure = null;
  }

  /** Lay out for a width, or null where there is nothing to lay out on yet. */
  layOut(grid: Grid, width: number, zoom: Zoom, tall?: number): Layout | null {
    const ctx = this.base.getContext("2d");
    if (!ctx || !this.#colours || width < 1) return null;
    this.#measure ??= fontMeasure(ctx, this.#colours.mono);
    const measure = this.#measure;
    const dpr = density();
    this.at = layout({
      width,
      tall,
      rows: grid.rows,
      cols: grid.cols,
      zoom,
      dpr,
      text: grid.text !== null,
      labelWidth: labelWidth(grid, measure),
      rowLabelWidth: Math.max(0, ...[0, grid.rows - 1].map((row) => measure(String(grid.data.rows[row] ?? "")))),
      barWidth: barWidth(grid, grid.rows * cellHeight(grid.rows, grid.text !== null, dpr, tall), measure),
    });
    for (const canvas of [this.base, this.over]) resize(canvas, this.at.width, this.at.height, dpr);
    return this.at;
  }

  draw(grid: Grid, scroll: number, selected: Chosen): void {
    const ctx = this.base.getContext("2d");
    const at = this.at;
    const colours = this.#colours;
    if (!ctx || !at || !colours || !this.#measure) return;
    const dpr = density();
    const scene: Scene = {
      grid,
      at,
      palette: palette(grid.data.scale.kind, colours.dark),
      colours,
      dpr,
      scroll,
      measure: this.#measure,
      selected,
    };
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.direction = "ltr";
    ctx.fillStyle = colours.bg;
    ctx.fillRect(0, 0, at.width, at.height);
    this.binned = this.#painter.draw(ctx, scene);
    drawRows(ctx, scene);
    drawCols(ctx, scene);
    drawBar(ctx, scene, this.#scratch);
  }

  /** Draw what moves, without touching the picture below. */
  outline(scroll: number, selected: Chosen, marks: Marks): void {
    const ctx = this.over.getContext("2d");
    if (!ctx || !this.at || !this.#colours) return;
    const dpr = density();
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.at.width, this.at.height);
    drawOutlines(ctx, this.at, scroll, this.#colours, { selected, ...marks });
  }

  /** The picture as SVG text; null where it was not drawn yet. */
  svg(grid: Grid, selected: Chosen): string | null {
    const [at, colours, measure] = [this.at, this.#colours, this.#measure];
    if (!at || !colours || !measure) return null;
    return svgOf({ grid, at, palette: palette(grid.data.scale.kind, colours.dark), colours, measure, selected });
  }

  /** The picture as an image file. */
  image(): Promise<Blob | null> {
    return new Promise((resolve) => this.base.toBlob(resolve, "image/png"));
  }
}

export function resize(canvas: HTMLCanvasElement, width: number, height: number, dpr: number): void {
  const [w, h] = [Math.round(width * dpr), Math.round(height * dpr)];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  canvas.style.width = `${w / dpr}px`; // exactly its pixels: stretched by a fraction, text blurs
  canvas.style.height = `${h / dpr}px`;
  if (Number.isInteger(dpr)) return;
  // The same for a place between two device pixels.
  canvas.style.left = canvas.style.top = "0";
  const { left, top } = canvas.getBoundingClientRect();
  canvas.style.left = `${Math.round(left * dpr) / dpr - left}px`;
  canvas.style.top = `${Math.round(top * dpr) / dpr - top}px`;
}

function fontMeasure(ctx: CanvasRenderingContext2D, mono: string): Measure {
  return monospaceMeasure((text) => {
    ctx.font = `${FONT}px ${mono}`;
    return ctx.measureText(text).width;
  });
}

// The picture's lower canvas: cells, their marks and words. Knows geometry and colours, no model and no DOM events.

import type { Colours } from "../dom/theme";
import type { Chosen, Grid } from "../wire/grid";
import { Hatch } from "./hatch";
import { cellRect, type Layout, visibleCols } from "./layout";
import { BAD, indexer, OVER, type Palette, STEPS } from "./scale";
import { broken, type Measure, printable } from "./text";

export interface Scene {
  grid: Grid;
  at: Layout;
  palette: Palette;
  colours: Colours;
  dpr: number;
  scroll: number;
  measure: Measure;
  selected: Chosen;
}

export const FONT = 11;
export const MARK_ROOM = 9;
const INKS = ["#fff", "#000"] as const;

/** Places in the colour table of the cells in the window: one for each cell, or for each pixel where cells are smaller. */
export interface Pixels {
  places: Uint16Array;
  width: number;
  first: number;
  /** True where one pixel stands for several cells and shows the greatest. */
  binned: boolean;
}

/** Look up the window's cells. Row 0 of the result is the top row of the picture. */
export function lookUp(grid: Grid, at: Layout, scroll: number, dpr: number): Pixels {
  const { rows, cols, values } = grid;
  const index = indexer(grid.data.scale);
  const { first, last } = visibleCols(at, scroll);
  const perPixel = 1 / (at.cell.w * dpr);
  const binned = perPixel > 1;
  const width = binned ? Math.max(1, Math.round(at.view.w * dpr)) : last - first + 1;
  const places = new Uint16Array(width * rows);
  for (let row = 0; row < rows; row++) {
    const from = row * cols;
    const to = (rows - 1 - row) * width;
    if (!binned) for (let x = 0; x < width; x++) places[to + x] = index(values[from + first + x]!);
    else
      for (let x = 0; x < width; x++) {
        const start = Math.min(cols - 1, Math.floor(x * perPixel + scroll * dpr * perPixel));
        const end = Math.min(cols, Math.max(start + 1, Math.floor((x + 1) * perPixel + scroll * dpr * perPixel)));
        let greatest = values[from + start]!;
        for (let col = start + 1; col < end; col++) {
          const value = values[from + col]!;
          // An odd cell must not vanish in a small picture: not-a-number wins, then the greatest size.
          if (Number.isNaN(value) || Math.abs(value) > Math.abs(greatest)) greatest = value;
          if (Number.isNaN(greatest)) break;
        }
        places[to + x] = index(greatest);
      }
  }
  return { places, width, first, binned };
}

/** Draws cells; keeps one small canvas and one hatch between draws. */
export class CellPainter {
  readonly #scratch = document.createElement("canvas");
  readonly #hatch = new Hatch();

  /** Draw the cells in the window. True where a pixel stands for several cells. */
  draw(ctx: CanvasRenderingContext2D, scene: Scene): boolean {
    const { grid, at, palette, scroll, dpr } = scene;
    if (!grid.rows || !grid.cols) return false;
    const pixels = lookUp(grid, at, scroll, dpr);
    ctx.save();
    ctx.beginPath();
    ctx.rect(at.view.x, at.view.y, at.view.w, at.view.h);
    ctx.clip();
    this.#blit(ctx, scene, pixels);
    this.#marked(ctx, scene, pixels);
    if (at.gap) drawGaps(ctx, scene, pixels);
    if (!pixels.binned && at.cell.w >= MARK_ROOM && at.cell.h >= 8) drawMarks(ctx, scene, pixels);
    if (grid.text && at.cell.h >= 14) drawWords(ctx, scene, pixels, palette);
    ctx.restore();
    return pixels.binned;
  }

  #blit(ctx: CanvasRenderingContext2D, { grid, at, palette, scroll }: Scene, pixels: Pixels): void {
    const { places, width, first, binned } = pixels;
    const image = new ImageData(width, grid.rows);
    const out = new Uint32Array(image.data.buffer);
    for (let i = 0; i < out.length; i++) out[i] = palette.pixels[places[i]!]!;
    this.#scratch.width = width;
    this.#scratch.height = grid.rows;
    const scratch = this.#scratch.getContext("2d");
    if (!scratch) return;
    scratch.putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = false;
    const x = binned ? at.view.x : at.view.x + first * at.cell.w - scroll;
    ctx.drawImage(this.#scratch, x, at.view.y, binned ? at.view.w : width * at.cell.w, at.view.h);
  }

  #marked(ctx: CanvasRenderingContext2D, { grid, at, scroll, dpr }: Scene, { first, width, binned }: Pixels): void {
    const last = binned ? grid.cols : first + width;
    const pattern = this.#hatch.pattern(ctx, dpr);
    if (!pattern || at.cell.w < 3) return;
    ctx.fillStyle = pattern;
    ctx.globalAlpha = grid.text ? 0.5 : 1; // words must stay readable
    for (const col of grid.marked)
      if (col >= first && col < last) {
        const { x } = cellRect(at, { row: 0, col }, scroll);
        ctx.fillRect(x, at.view.y, at.cell.w, at.view.h);
      }
    ctx.globalAlpha = 1;
  }
}

function drawGaps(ctx: CanvasRenderingContext2D, { at, scroll, colours }: Scene, { first, width }: Pixels): void {
  const { view, cell, gap } = at;
  ctx.fillStyle = colours.bg;
  for (let i = 0; i <= width; i++) {
    const x = view.x + (first + i) * cell.w - scroll - gap;
    ctx.fillRect(x, view.y, gap, view.h);
  }
  for (let row = 1; row <= at.rows; row++) ctx.fillRect(view.x, view.y + row * cell.h - gap, view.w, gap);
}

/** A cross for what is no number; a corner for what lies above (upper) or below (lower) the scale. */
function drawMarks(ctx: CanvasRenderingContext2D, scene: Scene, { places, width, first }: Pixels): void {
  const { at, grid, scroll, palette } = scene;
  const { cell, view, gap } = at;
  const paths = INKS.map(() => ({ crosses: new Path2D(), corners: new Path2D() }));
  const side = Math.min(6, cell.w * 0.4, cell.h * 0.4);
  for (let i = 0; i < places.length; i++) {
    const place = places[i]!;
    if (place < STEPS) continue;
    const col = first + (i % width);
    const x = view.x + col * cell.w - scroll;
    const y = view.y + Math.floor(i / width) * cell.h;
    const right = x + cell.w - gap;
    const bottom = y + cell.h - gap;
    const path = paths[palette.darkInk[place] ? 1 : 0]!;
    if (place === BAD) {
      const [cx, cy, r] = [(x + right) / 2, (y + bottom) / 2, Math.min(5, cell.w * 0.3, cell.h * 0.3)];
      path.crosses.moveTo(cx - r, cy - r);
      path.crosses.lineTo(cx + r, cy + r);
      path.crosses.moveTo(cx - r, cy + r);
      path.crosses.lineTo(cx + r, cy - r);
    } else if (!grid.marked.has(col)) {
      const corner = place === OVER ? y : bottom;
      const inward = place === OVER ? side : -side;
      path.corners.moveTo(right, corner);
      path.corners.lineTo(right - side, corner);
      path.corners.lineTo(right, corner + inward);
      path.corners.closePath();
    }
  }
  paths.forEach((path, i) => {
    ctx.strokeStyle = ctx.fillStyle = INKS[i]!;
    ctx.lineWidth = 1.5;
    ctx.globalAlpha = 0.75;
    ctx.stroke(path.crosses);
    ctx.fill(path.corners);
  });
  ctx.globalAlpha = 1;
}

const WORD_LINE = 13;

/** Short words in cells, in as many lines as the cell has room for, in the ink that reads on its colour. */
function drawWords(ctx: CanvasRenderingContext2D, scene: Scene, pixels: Pixels, palette: Palette): void {
  const { grid, at, scroll, measure, colours } = scene;
  const { text } = grid;
  const strings = grid.data.text?.strings;
  if (!text || !strings) return;
  const room = at.cell.w - at.gap - 5;
  if (room < measure("00")) return;
  const cut = new Map<number, string[]>();
  const most = Math.max(1, Math.floor((at.cell.h - at.gap) / WORD_LINE));
  const { places, width, first } = pixels;
  ctx.font = `${FONT}px ${colours.mono}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const dark of [false, true]) {
    ctx.fillStyle = INKS[dark ? 1 : 0]!;
    for (let i = 0; i < places.length; i++) {
      const place = places[i]!;
      if (palette.darkInk[place] !== dark || place === BAD) continue;
      const col = first + (i % width);
      const row = grid.rows - 1 - Math.floor(i / width);
      const which = text[row * grid.cols + col]!;
      let lines = cut.get(which);
      if (lines === undefined) {
        lines = broken(printable(strings[which] ?? ""), room, most, measure);
        cut.set(which, lines);
      }
      const { x, y } = cellRect(at, { row, col }, scroll);
      const top = y + (at.cell.h - at.gap - WORD_LINE * (lines.length - 1)) / 2 + 0.5;
      lines.forEach((line, n) => {
        ctx.fillText(line, x + (at.cell.w - at.gap) / 2, top + n * WORD_LINE);
      });
    }
  }
}

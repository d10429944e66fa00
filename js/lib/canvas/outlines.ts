// The upper canvas: what moves with pointer and keyboard, drawn without touching the cells below.

import type { Colours } from "../dom/theme";
import type { Chosen } from "../wire/grid";
import { cellRect, type Layout, type Marks, type Rect } from "./layout";

export function drawOutlines(
  ctx: CanvasRenderingContext2D,
  at: Layout,
  scroll: number,
  colours: Colours,
  { selected, hover, cursor, edited, region }: Marks & { selected: Chosen },
): void {
  const { view, cell } = at;
  ctx.save();
  ctx.beginPath();
  ctx.rect(view.x - 3, view.y - 3, view.w + 6, view.h + 6);
  ctx.clip();
  const ink = colours.dark ? "#fff" : "#000";
  for (const { row, col, state } of edited) {
    const rect = cellRect(at, { row, col: col ?? 0 }, col === null ? 0 : scroll);
    if (col === null) rect.w = view.w;
    const chosen = row === selected.row && col === selected.col; // its outline goes around
    const inset = Math.min(rect.w, rect.h) > 12 ? (chosen ? 4 : 1) : 0;
    ctx.setLineDash(state === "on" ? [2, 2] : [4, 4]);
    ctx.globalAlpha = state === "going" ? 0.35 : 1;
    stroke(ctx, inner(rect, inset), at.gap, colours.accent, 2, colours.bg);
    ctx.globalAlpha = 1;
  }
  ctx.setLineDash([]);
  if (region) {
    const [a, b] = region.map((each) => cellRect(at, each, scroll)) as [Rect, Rect];
    const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
    const rect = { x, y, w: Math.max(a.x, b.x) - x + cell.w, h: Math.max(a.y, b.y) - y + cell.h };
    ctx.fillStyle = colours.accent;
    ctx.globalAlpha = 0.15;
    ctx.fillRect(rect.x, rect.y, rect.w, rect.h);
    ctx.globalAlpha = 1;
    stroke(ctx, rect, at.gap, colours.accent, 2, colours.bg);
  }
  if (hover && !region) stroke(ctx, cellRect(at, hover, scroll), at.gap, ink, 1, colours.bg);
  const { row, col } = selected;
  // A selection may name a whole row (a layer) or a whole column (a position).
  if (row !== null || col !== null) {
    const rect = cellRect(at, { row: row ?? at.rows - 1, col: col ?? 0 }, col === null ? 0 : scroll);
    if (row === null) rect.h = view.h;
    if (col === null) rect.w = view.w;
    stroke(ctx, rect, at.gap, ink, 2, colours.bg);
  }
  if (cursor) {
    const inset = cursor.row === row && cursor.col === col && Math.min(cell.w, cell.h) > 10 ? 3 : 0;
    ctx.setLineDash([4, 2]);
    stroke(ctx, inner(cellRect(at, cursor, scroll), inset), at.gap, colours.accent, 2, colours.bg);
  }
  ctx.restore();
}

const inner = ({ x, y, w, h }: Rect, by: number): Rect => ({ x: x + by, y: y + by, w: w - 2 * by, h: h - 2 * by });

/** A line around a cell, over a wider one in the ground's colour: it shows on any colour of the scale. */
export function stroke(
  ctx: CanvasRenderingContext2D,
  { x, y, w, h }: Rect,
  gap: number,
  ink: string,
  width: number,
  halo: string,
): void {
  const dash = ctx.getLineDash();
  for (const [style, line, pattern] of [
    [halo, width + 2, []],
    [ink, width, dash],
  ] as const) {
    ctx.strokeStyle = style;
    ctx.lineWidth = line;
    ctx.setLineDash([...pattern]);
    ctx.strokeRect(x - gap / 2, y - gap / 2, w, h);
  }
}

// Layer numbers, token labels and the colour bar, on the picture's lower canvas.

import type { Grid } from "../wire/grid";
import type { Scale } from "../wire/model";
import { labelledCols, visibleCols } from "./layout";
import { FONT, type Scene } from "./paint";
import { OVER, type Palette, STEPS, scaleLabel, ticks, UNDER } from "./scale";
import { ellipsize, type Measure, printable, wrapped } from "./text";

export const LABEL_CAP = 88;
const BAR = { gap: 16, width: 11, cap: 6, line: 13, lines: 3, least: 80 };

/** Width of the widest token label as drawn (long ones are cut). */
export function labelWidth(grid: Grid, measure: Measure): number {
  let widest = 0;
  for (const token of grid.data.tokens) widest = Math.max(widest, measure(token));
  return Math.min(widest, LABEL_CAP);
}

/** Room that the colour bar needs at the right of a picture of this height. */
export function barWidth(grid: Grid, height: number, measure: Measure): number {
  const { scale } = grid.data;
  const texts = ticks(scale, 240).map((tick) => measure(tick.text));
  const more = barLabel(scale, height, measure).length - 1;
  return BAR.gap + BAR.width + 6 + Math.ceil(Math.max(0, ...texts)) + 20 + BAR.line * more;
}

/** What the colour bar measures, in lines as long as the bar. */
function barLabel(scale: Scale, height: number, measure: Measure): string[] {
  const label = ticks(scale, height).length ? scaleLabel(scale) : "no finite value";
  const drawn = (text: string) => measure(text) * 0.92; // it is not drawn in monospace
  return wrapped(label, Math.max(height, BAR.least), BAR.lines, drawn);
}

const weights = (family: string) => ({ plain: `${FONT}px ${family}`, bold: `700 ${FONT}px ${family}` });

export function drawRows(ctx: CanvasRenderingContext2D, { grid, at, colours, selected }: Scene): void {
  const { view, cell, rowStep } = at;
  const fonts = weights(colours.sans);
  ctx.font = fonts.plain;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  for (let row = 0; row < at.rows; row++) {
    const chosen = row === selected.row;
    const nearChosen = selected.row !== null && Math.abs(row - selected.row) < rowStep;
    if (!chosen && (row % rowStep !== 0 || nearChosen)) continue;
    if (chosen) ctx.font = fonts.bold;
    ctx.fillStyle = chosen ? colours.ink : colours.dim;
    ctx.fillText(String(grid.data.rows[row]), view.x - 8, view.y + (at.rows - 1 - row + 0.5) * cell.h);
    if (chosen) ctx.font = fonts.plain;
  }
  turned(ctx, 11, view.y + view.h / 2, -Math.PI / 2, () => {
    ctx.fillStyle = colours.dim;
    ctx.textAlign = "center";
    ctx.fillText(grid.data.row_name, 0, 0);
  });
}

export function drawCols(ctx: CanvasRenderingContext2D, scene: Scene): void {
  const { grid, at, colours, selected, scroll, measure } = scene;
  const { view, cell } = at;
  const { first, last } = visibleCols(at, scroll);
  const tilt = (at.angle * Math.PI) / 180;
  const always = selected.col === null ? [] : [selected.col];
  const fonts = weights(colours.mono);
  ctx.font = fonts.plain;
  ctx.textBaseline = "middle";
  ctx.textAlign = tilt ? "left" : "center";
  for (const col of labelledCols(at, first, last, always)) {
    const x = view.x + (col + 0.5) * cell.w - scroll;
    if (x < view.x || x > view.x + view.w) continue;
    const chosen = col === selected.col;
    const unknown = grid.unknown.has(col);
    if (chosen) ctx.font = fonts.bold;
    ctx.fillStyle = unknown ? colours.amber : grid.marked.has(col) ? colours.dim : colours.ink;
    const room = tilt ? Math.min(LABEL_CAP, (at.width - 6 - x) / Math.cos(tilt)) : cell.w;
    const text = ellipsize(printable(grid.data.tokens[col] ?? ""), room, measure);
    turned(ctx, tilt ? x - 3 : x, view.y + view.h + (tilt ? 9 : 12), tilt, () => {
      ctx.fillText(text, 0, 0);
      // A word that the tokenizer does not know: underlined too, not by colour alone.
      const length = measure(text);
      if (unknown) ctx.fillRect(tilt ? 0 : -length / 2, 6, length, 1);
    });
    if (chosen) ctx.font = fonts.plain;
  }
}

/** Ticks and label are in the scale's own unit; arrow-shaped ends say that cells lie beyond. */
export function drawBar(
  ctx: CanvasRenderingContext2D,
  { grid, at, colours, palette, measure }: Scene,
  scratch: HTMLCanvasElement,
): void {
  const { scale } = grid.data;
  const x = at.view.x + at.view.w + BAR.gap;
  const { y, h } = at.view;
  const marks = ticks(scale, h);
  if (marks.length) {
    paintRamp(ctx, palette, scratch, { x, y, h });
    ctx.strokeStyle = colours.dim;
    if (scale.over) cap(ctx, palette.css[OVER]!, x, y - 1, -BAR.cap);
    if (scale.under) cap(ctx, palette.css[UNDER]!, x, y + h + 1, BAR.cap);
  } else {
    ctx.strokeStyle = colours.line;
    ctx.strokeRect(x + 0.5, y + 0.5, BAR.width - 1, h - 1);
  }
  ctx.font = weights(colours.sans).plain;
  ctx.fillStyle = colours.dim;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  let widest = 0;
  for (const { at: place, text } of marks) {
    const ty = Math.min(Math.max(y + (1 - place) * h, y + 5), y + h - 5);
    ctx.fillText(text, x + BAR.width + 6, ty);
    widest = Math.max(widest, measure(text));
  }
  turned(ctx, x + BAR.width + 6 + widest + 12, y + h / 2, -Math.PI / 2, () => {
    ctx.textAlign = "center";
    const drawn = (text: string) => ctx.measureText(text).width;
    barLabel(scale, h, measure).forEach((line, i) => {
      ctx.fillText(ellipsize(line, Math.max(h, BAR.least), drawn), 0, i * BAR.line);
    });
  });
}

function paintRamp(
  ctx: CanvasRenderingContext2D,
  palette: Palette,
  scratch: HTMLCanvasElement,
  { x, y, h }: { x: number; y: number; h: number },
): void {
  scratch.width = 1;
  scratch.height = STEPS;
  const pen = scratch.getContext("2d");
  if (!pen) return;
  const image = new ImageData(1, STEPS);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < STEPS; i++) out[STEPS - 1 - i] = palette.pixels[i]!;
  pen.putImageData(image, 0, 0);
  ctx.drawImage(scratch, x, y, BAR.width, h);
}

function cap(ctx: CanvasRenderingContext2D, colour: string, x: number, y: number, height: number): void {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x + BAR.width, y);
  ctx.lineTo(x + BAR.width / 2, y + height);
  ctx.closePath();
  ctx.fill();
  ctx.lineWidth = 0.5;
  ctx.stroke();
}

function turned(ctx: CanvasRenderingContext2D, x: number, y: number, angle: number, draw: () => void): void {
  ctx.save();
  ctx.translate(x, y);
  ctx.rotate(angle);
  draw();
  ctx.restore();
}

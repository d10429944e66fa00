// The small pictures of all heads on a canvas, with a number under each.

import { numberText } from "../canvas/number";
import { FONT } from "../canvas/paint";
import type { Palette } from "../canvas/scale";
import { OVER, STEPS } from "../canvas/scale";
import type { Colours } from "../dom/theme";
import type { Scale } from "../wire/model";
import { THUMB, type ThumbLayout } from "./thumb_layout";

export interface Thumbs {
  layers: readonly number[];
  heads: readonly number[];
  side: number;
  /** One byte a pixel, 255 is a weight of 1. */
  pictures: Uint8Array;
  scale: Scale;
  /** The number under each. */
  values: Float32Array;
  ablated: ReadonlySet<number>;
  /** No token looks ahead. */
  causal: boolean;
}

/** A score as a person reads it: two decimals, for they stand beside each other. */
export function scoreText(value: number): string {
  if (Number.isNaN(value)) return "\u2013";
  const size = Math.abs(value);
  if (size < 1e-4) return "0"; // what is at rounding level has no effect
  if (size < 0.005) return "<0.01";
  return size < 100 ? value.toFixed(2).replace("-", "\u2212") : numberText(value, 3);
}

/** A pixel for each of the 256 weights that a byte can say. */
export function byteColours(scale: Scale, palette: Palette): Uint32Array {
  const high = scale.high ?? 1;
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    const step = Math.floor((byte / 255 / high) * STEPS);
    return palette.pixels[byte / 255 > high * (1 + 1 / 255) ? OVER : Math.min(STEPS - 1, step)]!;
  });
}

export function drawThumbs(
  ctx: CanvasRenderingContext2D,
  thumbs: Thumbs,
  at: ThumbLayout,
  palette: Palette,
  colours: Colours,
  scratch: HTMLCanvasElement,
): void {
  const { side, pictures } = thumbs;
  const table = byteColours(thumbs.scale, palette);
  scratch.width = scratch.height = side;
  const pen = scratch.getContext("2d");
  if (!pen) return;
  const image = new ImageData(side, side);
  const out = new Uint32Array(image.data.buffer);
  ctx.textBaseline = "alphabetic";
  for (let n = 0; n < thumbs.heads.length; n++) {
    const { x, y } = placeOf(at, n);
    for (let q = 0; q < side; q++)
      for (let k = 0; k < side; k++)
        out[q * side + k] = thumbs.causal && k > q ? 0 : table[pictures[(n * side + q) * side + k]!]!;
    pen.putImageData(image, 0, 0);
    ctx.fillStyle = colours.dark ? "#0d1014" : "#fbfcfd";
    ctx.fillRect(x, y, at.thumb, at.thumb);
    ctx.imageSmoothingEnabled = at.thumb * devicePixelRatio < side;
    ctx.globalAlpha = thumbs.ablated.has(n) ? 0.35 : 1;
    ctx.drawImage(scratch, x, y, at.thumb, at.thumb);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = colours.line;
    ctx.lineWidth = 1;
    ctx.strokeRect(x - 0.5, y - 0.5, at.thumb + 1, at.thumb + 1);
    if (thumbs.ablated.has(n)) crossOut(ctx, colours, x, y, at.thumb);
    label(ctx, thumbs, at, colours, n, y);
  }
}

function label(
  ctx: CanvasRenderingContext2D,
  { layers, heads, values }: Thumbs,
  at: ThumbLayout,
  colours: Colours,
  n: number,
  top: number,
): void {
  const left = at.lane + at.at[n]!.col * at.cell.w;
  const y = top + at.thumb + 12;
  const text = scoreText(values[n]!);
  if (at.named) {
    ctx.font = `${FONT}px ${colours.mono}`;
    ctx.fillStyle = colours.ink;
    ctx.textAlign = "left";
    ctx.fillText(`${layers[n]}.${heads[n]}`, left + THUMB.pad, y);
  }
  ctx.font = `${FONT}px ${colours.sans}`;
  ctx.fillStyle = colours.dim;
  ctx.textAlign = at.named ? "right" : "center";
  ctx.fillText(text, at.named ? left + at.cell.w - THUMB.pad : left + at.cell.w / 2, y);
}

/** Layer numbers at the left and, where cells have no names, head numbers above. */
export function drawThumbAxes(ctx: CanvasRenderingContext2D, thumbs: Thumbs, at: ThumbLayout, colours: Colours): void {
  if (!at.lane) return;
  ctx.font = `${FONT}px ${colours.sans}`;
  ctx.fillStyle = colours.dim;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  const seen = new Set<number>();
  at.at.forEach(({ row }, n) => {
    if (seen.has(row)) return;
    seen.add(row);
    ctx.fillText(String(thumbs.layers[n]), at.lane - 6, at.top + row * at.cell.h + at.cell.h / 2 - 6);
  });
  ctx.textAlign = "center";
  if (at.top)
    for (let col = 0; col < at.cols; col++) ctx.fillText(String(col), at.lane + (col + 0.5) * at.cell.w, at.top / 2);
}

/** The left upper corner of a head's picture, in whole device pixels. */
export function placeOf(at: ThumbLayout, n: number): { x: number; y: number } {
  const { row, col } = at.at[n]!;
  const dpr = globalThis.devicePixelRatio || 1;
  const snap = (value: number) => Math.round(value * dpr) / dpr;
  return {
    x: snap(at.lane + col * at.cell.w + (at.cell.w - at.thumb) / 2),
    y: snap(at.top + row * at.cell.h + THUMB.pad),
  };
}

function crossOut(ctx: CanvasRenderingContext2D, colours: Colours, x: number, y: number, size: number): void {
  ctx.strokeStyle = colours.accent;
  ctx.lineWidth = 1.5;
  ctx.setLineDash([3, 2]);
  ctx.strokeRect(x + 1, y + 1, size - 2, size - 2);
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(x + 3, y + 3);
  ctx.lineTo(x + size - 3, y + size - 3);
  ctx.moveTo(x + size - 3, y + 3);
  ctx.lineTo(x + 3, y + size - 3);
  ctx.stroke();
}

/** What moves over the pictures: the open head, the one pointed at, the keyboard's. */
export function drawThumbMarks(
  ctx: CanvasRenderingContext2D,
  at: ThumbLayout,
  colours: Colours,
  marks: { selected: number; hover: number; cursor: number },
): void {
  for (const [n, ink, width, dash, grow] of [
    [marks.hover, colours.dim, 1, [], 2.5],
    [marks.selected, colours.accent, 2, [], 3],
    [marks.cursor, colours.accent, 2, [4, 2], marks.cursor === marks.selected ? 0 : 3],
  ] as const) {
    if (n < 0 || !at.at[n]) continue;
    const { row, col } = at.at[n]!;
    const y = at.top + row * at.cell.h + THUMB.pad - grow;
    const [left, right] = [at.lane + col * at.cell.w + 1, at.lane + (col + 1) * at.cell.w - 1]; // around its name, too
    ctx.strokeStyle = ink;
    ctx.lineWidth = width;
    ctx.setLineDash([...dash]);
    ctx.beginPath();
    ctx.roundRect(left, y, right - left, at.thumb + THUMB.label + 2 * grow - 1, 4);
    ctx.stroke();
  }
  ctx.setLineDash([]);
}

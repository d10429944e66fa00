// The open head's cells, token labels and colour bar on a canvas.
import { drawBar } from "../canvas/axes";
import { Hatch } from "../canvas/hatch";
import { stroke } from "../canvas/outlines";
import { FONT, type Scene } from "../canvas/paint";
import { BAD, indexer, type Palette } from "../canvas/scale";
import { ellipsize, type Measure, printable } from "../canvas/text";
import type { Colours } from "../dom/theme";
import type { Scale } from "../wire/model";
import {
  inWindow,
  labelled,
  lookUpWindow,
  MATRIX,
  type MatrixLayout,
  type Scroll,
  type Spot,
  spotRect,
} from "./matrix_layout";

export const TOKEN_CAP = 92;

export interface Picture {
  n: number;
  values: Float32Array;
  tokens: readonly string[];
  marked: ReadonlySet<number>;
  unknown: ReadonlySet<number>;
  scale: Scale;
  causal: boolean;
  /** Effects up to this size are none. */
  rounding: number;
  /** The norm of what is written at each position. */
  written: Float32Array | null;
}

export interface MatrixScene {
  picture: Picture;
  at: MatrixLayout;
  palette: Palette;
  colours: Colours;
  dpr: number;
  scroll: Scroll;
  measure: Measure;
  /** Tokens whose labels are bold. */
  strong: Spot;
}

export class MatrixPainter {
  readonly #scratch = document.createElement("canvas");
  readonly #hatch = new Hatch();

  /** True where a pixel stands for several cells. */
  draw(ctx: CanvasRenderingContext2D, scene: MatrixScene): boolean {
    const { at, colours } = scene;
    ctx.fillStyle = colours.bg;
    ctx.fillRect(0, 0, at.width, at.height);
    ctx.save();
    ctx.beginPath();
    ctx.rect(at.view.x, at.view.y, at.view.w, at.view.h);
    ctx.clip();
    const binned = this.#cells(ctx, scene);
    this.#marked(ctx, scene);
    ctx.restore();
    labels(ctx, scene);
    written(ctx, scene);
    drawBar(ctx, barScene(scene), this.#scratch);
    return binned;
  }

  #cells(ctx: CanvasRenderingContext2D, { picture, at, palette, dpr, scroll, colours }: MatrixScene): boolean {
    const { view, cell, gap } = at;
    const index = indexer(picture.scale);
    const { places, width, height, first, binned } = lookUpWindow(
      picture.values,
      at,
      scroll,
      dpr,
      picture.causal,
      index,
    );
    const image = new ImageData(width, height);
    const out = new Uint32Array(image.data.buffer);
    for (let i = 0; i < out.length; i++) if (places[i]! >= 0) out[i] = palette.pixels[places[i]!]!;
    this.#scratch.width = width;
    this.#scratch.height = height;
    this.#scratch.getContext("2d")?.putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = false;
    const x = binned ? view.x : view.x + first.k! * cell - scroll.x;
    const y = binned ? view.y : view.y + first.q! * cell - scroll.y;
    ctx.drawImage(this.#scratch, x, y, binned ? view.w : width * cell, binned ? view.h : height * cell);
    if (gap) {
      ctx.fillStyle = colours.bg;
      for (let i = 0; i <= width; i++) ctx.fillRect(x + i * cell - gap, y, gap, height * cell);
      for (let i = 0; i <= height; i++) ctx.fillRect(x, y + i * cell - gap, width * cell, gap);
    }
    if (!binned && cell >= 9) {
      ctx.strokeStyle = colours.dim;
      ctx.beginPath();
      places.forEach((place, i) => {
        if (place !== BAD) return;
        const [left, top] = [x + (i % width) * cell, y + Math.floor(i / width) * cell];
        ctx.moveTo(left + 2, top + 2);
        ctx.lineTo(left + cell - gap - 2, top + cell - gap - 2);
      });
      ctx.stroke();
    }
    return binned;
  }

  #marked(ctx: CanvasRenderingContext2D, { picture, at, dpr, scroll }: MatrixScene): void {
    const pattern = this.#hatch.pattern(ctx, dpr);
    if (!pattern || at.cell < 3) return;
    ctx.fillStyle = pattern;
    for (const k of picture.marked) {
      const { x, y, w } = spotRect(at, { q: picture.causal ? k : 0, k }, scroll);
      ctx.fillRect(x, y, w - at.gap, at.content);
    }
  }
}

/** Room of the bars that say how much is written at each position. */
export const WRITTEN = { gap: 8, width: 34 };

/** What the house's colour bar needs to know. */
function barScene({ picture, at, colours, palette, measure }: MatrixScene): Scene {
  const { view } = at;
  const aside = picture.written ? WRITTEN.gap + WRITTEN.width : 0;
  const beside = { view: { ...view, w: view.w + aside } };
  return { grid: { data: { scale: picture.scale } }, at: beside, colours, palette, measure } as unknown as Scene;
}

/** How much the head writes at each position, as bars beside its rows; those of the marked positions in a lighter ink. */
function written(ctx: CanvasRenderingContext2D, { picture, at, scroll, colours }: MatrixScene): void {
  const norms = picture.written;
  if (!norms) return;
  const { view, cell, gap } = at;
  const most = Math.max(...norms) || 1;
  const x = view.x + view.w + WRITTEN.gap;
  const [first, last] = inWindow(at, scroll.y);
  ctx.fillStyle = colours.line;
  ctx.fillRect(x, view.y, 1, view.h);
  for (let q = first; q <= last; q++) {
    const y = view.y + q * cell - scroll.y;
    const high = Math.max(1, Math.min(cell - gap, 12));
    ctx.fillStyle = picture.marked.has(q) ? colours.dim : colours.accent;
    ctx.fillRect(x + 1, y + (cell - gap - high) / 2, (norms[q]! / most) * (WRITTEN.width - 2), high);
  }
  ctx.font = `${FONT}px ${colours.sans}`;
  ctx.fillStyle = colours.dim;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.fillText("writes", x, view.y + view.h + 13);
}

function labels(ctx: CanvasRenderingContext2D, scene: MatrixScene): void {
  const { at, scroll, strong, colours } = scene;
  const { view, cell } = at;
  const bold = (chosen: boolean) => `${chosen ? "700 " : ""}${FONT}px ${colours.mono}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  for (const q of labelled(...inWindow(at, scroll.y), at.rowStep, strong.q === null ? [] : [strong.q])) {
    const y = view.y + (q + 0.5) * cell - scroll.y;
    if (y < view.y || y > view.y + view.h) continue;
    ctx.font = bold(q === strong.q);
    inked(ctx, scene, q, view.x - 8, y);
  }
  ctx.textAlign = "left";
  for (const k of labelled(...inWindow(at, scroll.x), at.colStep, strong.k === null ? [] : [strong.k])) {
    const x = view.x + (k + 0.5) * cell - scroll.x;
    if (x < view.x || x > view.x + view.w) continue;
    ctx.save();
    ctx.translate(x - 2, view.y + view.h + 9);
    ctx.rotate((MATRIX.angle * Math.PI) / 180);
    ctx.font = bold(k === strong.k);
    inked(ctx, scene, k, 0, 0);
    ctx.restore();
  }
}

function inked(
  ctx: CanvasRenderingContext2D,
  { picture, colours, measure }: MatrixScene,
  pos: number,
  x: number,
  y: number,
): void {
  ctx.fillStyle = picture.unknown.has(pos) ? colours.amber : picture.marked.has(pos) ? colours.dim : colours.ink;
  ctx.fillText(labelOf(picture, pos, measure), x, y);
}

/** A token's label, cut where it is long. */
export const labelOf = ({ tokens }: Pick<Picture, "tokens">, pos: number, measure: Measure): string =>
  ellipsize(printable(tokens[pos] ?? ""), TOKEN_CAP, measure);

/** What moves: row and column under the pointer, the selected cell, the keyboard's cursor. */
export function drawSpots(
  ctx: CanvasRenderingContext2D,
  at: MatrixLayout,
  scroll: Scroll,
  colours: Colours,
  { hover, selected, cursor }: { hover: Spot | null; selected: Spot; cursor: Spot | null },
): void {
  const { view, gap, cell } = at;
  ctx.save();
  ctx.beginPath();
  ctx.rect(view.x - 3, view.y - 3, view.w + 6, view.h + 6);
  ctx.clip();
  const ink = colours.dark ? "#fff" : "#000";
  if (hover) {
    ctx.fillStyle = colours.accent;
    ctx.globalAlpha = 0.1;
    for (const spot of [
      { q: hover.q, k: null },
      { q: null, k: hover.k },
    ])
      if (spot.q !== null || spot.k !== null) {
        const { x, y, w, h } = spotRect(at, spot, scroll);
        ctx.fillRect(x, y, w, h);
      }
    ctx.globalAlpha = 1;
    if (hover.q !== null && hover.k !== null) stroke(ctx, spotRect(at, hover, scroll), gap, ink, 1, colours.bg);
  }
  if (selected.q !== null || selected.k !== null)
    stroke(ctx, grown(spotRect(at, selected, scroll), cell), gap, ink, 2, colours.bg);
  if (cursor) {
    ctx.setLineDash([4, 2]);
    stroke(ctx, grown(spotRect(at, cursor, scroll), cell), gap, colours.accent, 2, colours.bg);
  }
  ctx.restore();
}

/** A rectangle that can be seen, around a cell that is too small to be. */
function grown(rect: { x: number; y: number; w: number; h: number }, cell: number): typeof rect {
  const by = Math.max(0, (7 - cell) / 2);
  return { x: rect.x - by, y: rect.y - by, w: rect.w + 2 * by, h: rect.h + 2 * by };
}

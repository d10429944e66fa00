// A square picture of positions by positions, row 0 at the top: geometry in CSS pixels, and back from a point to a cell.
import type { Rect, Zoom } from "../canvas/layout";
import { type KeyAction, type KeyPress, keyAction } from "../page/keyboard";

export interface MatrixInput {
  /** Room for all of it. */
  width: number;
  /** Greatest height of the cells. */
  tall: number;
  n: number;
  zoom: Zoom;
  dpr: number;
  /** Widest label of a row as drawn, and room for the colour bar. */
  labelWidth: number;
  barWidth: number;
}

export interface MatrixLayout {
  width: number;
  height: number;
  n: number;
  /** Side of a cell; below one device pixel, several share one. */
  cell: number;
  /** The window onto the cells. */
  view: Rect;
  /** Side of all cells. */
  content: number;
  gap: number;
  /** One of `step` labels is drawn. */
  rowStep: number;
  colStep: number;
}

export interface Scroll {
  x: number;
  y: number;
}

/** A cell; a column or row of null means a token's label. */
export interface Spot {
  q: number | null;
  k: number | null;
}

export const MATRIX = { most: 34, near: 26, gapFrom: 9, top: 6, angle: 45 };
const LABEL_ROOM = 12;

const snap = (size: number, dpr: number): number => (size * dpr >= 2 ? Math.floor(size * dpr) / dpr : size);

export function matrixLayout({ width, tall, n, zoom, dpr, labelWidth, barWidth }: MatrixInput): MatrixLayout {
  const left = Math.ceil(labelWidth) + 14;
  const slant = labelWidth * Math.SQRT1_2;
  const over = Math.max(barWidth, slant + 4); // the last label hangs over to the right, below the bar
  const room = Math.max(60, Math.min(width - left - over, tall));
  const fit = room / Math.max(1, n);
  const wanted = typeof zoom === "number" ? Math.max(zoom, Math.min(fit, MATRIX.most)) : fit;
  const cell = snap(Math.min(wanted, MATRIX.most), dpr);
  const content = cell * n;
  const size = Math.min(content, typeof zoom === "number" ? Math.max(room, 60) : room);
  const lane = slant + 18;
  return {
    width,
    height: Math.ceil(MATRIX.top + size + lane),
    n,
    cell,
    view: { x: left, y: MATRIX.top, w: size, h: size },
    content,
    gap: cell >= MATRIX.gapFrom ? Math.max(1, Math.floor(dpr)) / dpr : 0,
    rowStep: Math.max(1, Math.ceil(LABEL_ROOM / cell)),
    colStep: Math.max(1, Math.ceil((LABEL_ROOM * Math.SQRT2) / cell)),
  };
}

/** The cell, or the token's label, under a point of the picture; null elsewhere. */
export function spotAt(at: MatrixLayout, x: number, y: number, scroll: Scroll): Spot | null {
  const { view, cell, n } = at;
  const k = Math.floor((x - view.x + scroll.x) / cell);
  const q = Math.floor((y - view.y + scroll.y) / cell);
  const inX = x >= view.x && x < view.x + view.w && k < n;
  const inY = y >= view.y && y < view.y + view.h && q < n;
  if (inX && inY) return { q, k };
  if (inY && x >= 0 && x < view.x) return { q, k: null };
  if (inX && y >= view.y + view.h && y < view.y + view.h + 26) return { q: null, k };
  return null;
}

/** The rectangle of a cell, a row or a column, also where it is scrolled out of the window. */
export function spotRect({ view, cell, n, content }: MatrixLayout, { q, k }: Spot, scroll: Scroll): Rect {
  return {
    x: k === null ? view.x - (n ? scroll.x : 0) : view.x + k * cell - scroll.x,
    y: q === null ? view.y - scroll.y : view.y + q * cell - scroll.y,
    w: k === null ? content : cell,
    h: q === null ? content : cell,
  };
}

/** First and last row or column in the window. */
export function inWindow({ cell, n, view }: MatrixLayout, scroll: number): [number, number] {
  const first = Math.max(0, Math.floor(scroll / cell));
  return [first, Math.min(n - 1, Math.ceil((scroll + view.w) / cell - 1e-6) - 1)];
}

/** The scroll offset, changed as little as possible, that shows a row or column. */
export function shownAt({ cell, view, content }: MatrixLayout, index: number, scroll: number): number {
  const start = index * cell;
  const to = start < scroll ? start : Math.max(scroll, start + cell - view.w);
  return Math.max(0, Math.min(to, content - view.w));
}

/** The indices that get a label: every `step`-th, and those in `always`, which push out the neighbours they would touch. */
export function labelled(first: number, last: number, step: number, always: readonly number[]): number[] {
  const near = (i: number) => always.some((a) => a !== i && Math.abs(a - i) < step);
  const out: number[] = [];
  for (let i = first; i <= last; i++) if (always.includes(i) || (i % step === 0 && !near(i))) out.push(i);
  return out;
}

/** Reads the window's cells as places in a colour table; where cells are smaller than a pixel, the largest of each. */
export function lookUpWindow(
  values: Float32Array,
  at: MatrixLayout,
  scroll: Scroll,
  dpr: number,
  causal: boolean,
  index: (value: number) => number,
): { places: Int16Array; width: number; height: number; first: Spot; binned: boolean } {
  const { n, cell } = at;
  const binned = cell * dpr < 1;
  const [q0, q1] = inWindow(at, scroll.y);
  const [k0, k1] = inWindow(at, scroll.x);
  const width = binned ? Math.max(1, Math.round(at.view.w * dpr)) : k1 - k0 + 1;
  const height = binned ? Math.max(1, Math.round(at.view.h * dpr)) : q1 - q0 + 1;
  const places = new Int16Array(width * height).fill(-1);
  const each = 1 / (cell * dpr);
  const range = (pixel: number, offset: number): [number, number] => {
    const from = Math.min(n - 1, Math.floor(pixel * each + offset / cell));
    return [from, Math.min(n, Math.max(from + 1, Math.floor((pixel + 1) * each + offset / cell)))];
  };
  const columns = Array.from({ length: binned ? width : 0 }, (_, x) => range(x, scroll.x));
  for (let y = 0; y < height; y++) {
    if (!binned) {
      const q = q0 + y;
      const end = causal ? Math.min(k1, q) : k1;
      for (let k = k0; k <= end; k++) places[y * width + k - k0] = index(values[q * n + k]!);
      continue;
    }
    const [qa, qb] = range(y, scroll.y);
    for (let x = 0; x < width; x++) {
      const [ka, kb] = columns[x]!;
      let best = Number.NaN;
      let any = false;
      for (let q = qa; q < qb; q++) {
        const end = causal ? Math.min(kb, q + 1) : kb;
        for (let k = ka; k < end; k++) {
          const value = values[q * n + k]!;
          if (!any || Math.abs(value) > Math.abs(best)) best = value;
          any = true;
        }
      }
      if (any) places[y * width + x] = index(best);
    }
  }
  return { places, width, height, first: { q: q0, k: k0 }, binned };
}

/** Where a tooltip stands: beside a cell; of a row or column, beside its label. */
export function tipRect(at: MatrixLayout, spot: Spot, scroll: Scroll): Rect {
  const rect = spotRect(at, spot, scroll);
  if (spot.k === null) return { ...rect, x: 0, w: at.view.x };
  return spot.q === null ? { ...rect, y: at.view.y + at.view.h, h: 20 } : rect;
}

/** What a key does in a picture whose row 0 is at the top; no token looks ahead where `causal`. */
export function spotKey(
  press: KeyPress,
  { n, view, cell }: MatrixLayout,
  from: Spot | null,
  causal: boolean,
): Exclude<KeyAction, { kind: "move" }> | { kind: "move"; to: { q: number; k: number } } | null {
  const cursor = from?.q == null || from.k === null ? null : { row: n - 1 - from.q, col: from.k };
  const action = keyAction(press, { rows: n, cols: n, page: Math.max(1, Math.floor(view.w / cell)), cursor });
  if (action?.kind !== "move") return action;
  const q = n - 1 - action.to.row;
  return { kind: "move", to: { q, k: causal ? Math.min(action.to.col, q) : action.to.col } };
}

/** Which positions are in view; `pooled`: the screen's density, where a pixel stands for several. */
export function windowText(at: MatrixLayout, scroll: Scroll, pooled: number | null): string {
  const [q0, q1] = inWindow(at, scroll.y);
  const [k0, k1] = inWindow(at, scroll.x);
  const all = at.content <= at.view.w + 0.5;
  const each = pooled && Math.ceil(1 / (at.cell * pooled));
  return (
    (all ? `all ${at.n} positions` : `rows ${q0}\u2013${q1}, columns ${k0}\u2013${k1} of ${at.n}`) +
    (each ? `; a pixel shows the largest of up to ${each} x ${each}` : "")
  );
}

export const sameSpot = (a: Spot | null, b: Spot | null): boolean => a?.q === b?.q && a?.k === b?.k;

/** The point of the window that a zoom keeps in place: a cell, or the middle where there is none. */
export function anchorOf(at: MatrixLayout, spot: Spot, scroll: Scroll): Scroll {
  if (spot.q === null || spot.k === null) return { x: at.view.w / 2, y: at.view.h / 2 };
  const { x, y } = spotRect(at, spot, scroll);
  return { x: x - at.view.x, y: y - at.view.y };
}

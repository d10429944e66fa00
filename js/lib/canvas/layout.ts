// Where everything goes: pure geometry in CSS pixels, from sizes to rectangles, and back from a point to a cell.

/** How wide a cell is: "auto" fills the room without going under a readable width, "fit" shows all, or a width. */
export type Zoom = "auto" | "fit" | number;

export interface LayoutInput {
  /** Room for the whole plot. */
  width: number;
  /** Room for all rows, where there is a whole screen of it. */
  tall?: number | undefined;
  rows: number;
  cols: number;
  zoom: Zoom;
  dpr: number;
  /** Cells carry words. */
  text: boolean;
  /** Widest token label, already cut, and widest layer number. */
  labelWidth: number;
  rowLabelWidth: number;
  /** Room for colour bar, ticks and their label. */
  barWidth: number;
}

export interface Layout {
  width: number;
  height: number;
  cell: { w: number; h: number };
  /** The window onto the cells. */
  view: { x: number; y: number; w: number; h: number };
  rows: number;
  cols: number;
  /** Width of all cells; greater than `view.w` where the picture scrolls. */
  content: number;
  /** Rotation of token labels in degrees (0: level and centred), and the height of their lane. */
  angle: number;
  lane: number;
  /** Space between cells, 0 where they are too small for it. */
  gap: number;
  /** Thinning: one of `colStep` token labels, one of `rowStep` layer numbers. */
  colStep: number;
  rowStep: number;
}

/** Cells grow to `max` by `high` where they are few, so that the picture fills its card. */
export const CELL = { min: 14, minText: 46, max: 240, high: 56, tallest: 96 };
const LINE = 13;
const TOP = 8;
const LANE_PAD = 8;
/** Smaller cells touch: lines between them would be a mesh over the picture. */
const GAP_FROM = 12;
/** Labels need this much between their baselines to be read. */
const LABEL_ROOM = 12;
const radians = (degrees: number): number => (degrees * Math.PI) / 180;

/** The narrowest cell that zooming reaches, so that all fit or one device pixel holds one. */
const fitWidth = (room: number, cols: number): number => room / Math.max(cols, 1);

/** A width that is a whole number of device pixels where cells are wide enough for edges to show. */
const snap = (width: number, dpr: number): number => (width * dpr >= 3 ? Math.floor(width * dpr) / dpr : width);

export function cellWidth(room: number, cols: number, zoom: Zoom, text: boolean, dpr: number): number {
  const fit = fitWidth(room, cols);
  const least = text ? CELL.minText : CELL.min;
  if (zoom === "fit") return snap(Math.min(fit, CELL.max), dpr);
  if (zoom === "auto") return snap(Math.min(Math.max(fit, text && fit >= least * 0.7 ? fit : least), CELL.max), dpr);
  return snap(Math.min(Math.max(zoom, Math.min(fit, least)), CELL.max), dpr);
}

export function cellHeight(rows: number, text: boolean, dpr: number, tall = 0): number {
  const usual = Math.min(CELL.high, Math.max(text ? 18 : 8, Math.round(300 / Math.max(rows, 1))));
  return snap(Math.max(usual, Math.min(CELL.tallest, tall / Math.max(rows, 1))), dpr);
}

export function layout(input: LayoutInput): Layout {
  const { width, rows, cols, dpr, text } = input;
  const left = snap(Math.ceil(input.rowLabelWidth) + 30, dpr);
  const room = Math.max(40, width - left - input.barWidth);
  const w = cellWidth(room, cols, input.zoom, text, dpr);
  const h = cellHeight(rows, text, dpr, input.tall);
  const content = w * cols;
  const level = input.labelWidth <= w - 4;
  const angle = level ? 0 : w * Math.sin(radians(35)) >= LABEL_ROOM ? 35 : 60;
  const tilt = radians(angle);
  const lane = level ? LINE + LANE_PAD + 4 : input.labelWidth * Math.sin(tilt) + LINE * Math.cos(tilt) + LANE_PAD + 4;
  const view = { x: left, y: TOP, w: Math.min(room, content), h: h * rows };
  return {
    width,
    height: Math.ceil(TOP + view.h + lane),
    cell: { w, h },
    view,
    rows,
    cols,
    content,
    angle,
    lane,
    gap: w >= GAP_FROM && h >= GAP_FROM ? Math.max(1, Math.floor(dpr)) / dpr : 0,
    colStep: level ? 1 : Math.max(1, Math.ceil(LABEL_ROOM / (w * Math.sin(tilt)))),
    rowStep: step(h),
  };
}

/** 1, 2, 5, 10, ...: the least for which layer numbers do not touch. */
function step(height: number): number {
  for (let base = 1; ; base *= 10) for (const m of [1, 2, 5]) if (height * base * m >= 16) return base * m;
}

/** Columns that the window shows, partly shown ones included. */
export function visibleCols(at: Layout, scroll: number): { first: number; last: number } {
  const first = Math.max(0, Math.floor(scroll / at.cell.w));
  return { first, last: Math.min(at.cols - 1, Math.ceil((scroll + at.view.w) / at.cell.w - 1e-6) - 1) };
}

export interface Cell {
  row: number;
  col: number;
}

/** The cell under a point of the plot, or null. Row 0 is the lowest. */
export function hit(at: Layout, x: number, y: number, scroll: number): Cell | null {
  const { view, cell } = at;
  const inside = x >= view.x && x < view.x + view.w && y >= view.y && y < view.y + view.h;
  if (!inside || !at.rows || !at.cols) return null;
  const col = Math.floor((x - view.x + scroll) / cell.w);
  const row = at.rows - 1 - Math.floor((y - view.y) / cell.h);
  return col < at.cols && row >= 0 ? { row, col } : null;
}

/** What moves over the picture. */
export interface Marks {
  hover: Cell | null;
  cursor: Cell | null;
  /** Cells that are changed, and those on their way there or back; a column of null is the whole row. */
  edited: readonly { row: number; col: number | null; state: "on" | "coming" | "going" }[];
  /** Two corners of a region that is being drawn. */
  region: readonly [Cell, Cell] | null;
}

export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** The rectangle of a cell in the plot, also where it is scrolled out of the window. */
export function cellRect(at: Layout, { row, col }: Cell, scroll: number): Rect {
  const { view, cell } = at;
  return { x: view.x + col * cell.w - scroll, y: view.y + (at.rows - 1 - row) * cell.h, w: cell.w, h: cell.h };
}

/** The scroll offset, changed as little as possible, that shows the whole of a column. */
export function scrollTo(at: Layout, col: number, scroll: number): number {
  const start = col * at.cell.w;
  const shown = start < scroll ? start : Math.max(scroll, start + at.cell.w - at.view.w);
  return Math.max(0, Math.min(shown, at.content - at.view.w));
}

/** The scroll offset after a zoom that keeps the content under `x` (from the window's left edge) in place. */
export function anchored(before: Layout, after: Layout, scroll: number, x: number): number {
  const next = ((scroll + x) / before.cell.w) * after.cell.w - x;
  return Math.max(0, Math.min(next, after.content - after.view.w));
}

/**
 * The columns whose labels are drawn: every `colStep`-th one, and always the ones in `always`, which push out the
 * neighbours that they would touch.
 */
export function labelledCols(at: Layout, first: number, last: number, always: readonly number[]): number[] {
  const near = (col: number) => always.some((a) => a !== col && Math.abs(a - col) < at.colStep);
  const out: number[] = [];
  for (let col = first; col <= last; col++)
    if (always.includes(col) || (col % at.colStep === 0 && !near(col))) out.push(col);
  return out;
}

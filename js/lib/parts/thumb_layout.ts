// Where each head's small picture stands: layer by layer with layer 0 at the bottom, or in the order of a number.

export interface ThumbInput {
  /** Room for all of it. */
  width: number;
  /** Layer (its place from the bottom) and head of each. */
  rows: readonly number[];
  heads: readonly number[];
  /** Which one comes first, second, ...; null for layer by head. */
  order: ArrayLike<number> | null;
  /** Pixels of a picture along one side. */
  side: number;
  dpr: number;
  /** Width of a cell from which on it is named. */
  named: number;
}

export interface ThumbLayout {
  cols: number;
  rows: number;
  cell: { w: number; h: number };
  /** A picture as drawn, CSS pixels: whole device pixels for each of its own, where there is room. */
  thumb: number;
  /** Room for layer numbers. */
  lane: number;
  /** Room for head numbers above. */
  top: number;
  width: number;
  height: number;
  /** Whether a cell has room for the head's name beside its number. */
  named: boolean;
  /** Column and row (0: the upper one) of each head. */
  at: { row: number; col: number }[];
  /** The head in a cell, or -1. */
  inCell: Int32Array;
}

export const THUMB = { least: 36, most: 78, label: 16, pad: 4, lane: 22 };

/** The width at which a head's name stands beside its number. */
export const namedWidth = (names: readonly string[]): number =>
  46 + 6.7 * Math.max(3, ...names.map((name) => name.length));

/** The width at which pictures need not be smaller than their largest. */
export const wantedWidth = (heads: readonly number[], sorted: boolean): number => {
  const cols = Math.max(0, ...heads) + 1;
  return (sorted ? Math.max(cols, 6) : cols) * THUMB.most + (sorted ? 0 : THUMB.lane);
};

export function thumbLayout({ width, rows, heads, order, side, dpr, named: least }: ThumbInput): ThumbLayout {
  const count = heads.length;
  const lane = order ? 0 : THUMB.lane;
  const room = Math.max(THUMB.least, width - lane);
  const across = order ? Math.max(1, Math.floor(room / least)) : Math.max(0, ...heads) + 1;
  const w = Math.max(order ? Math.ceil(least) : THUMB.least, Math.min(THUMB.most, Math.floor(room / across)));
  const cols = order ? Math.max(1, Math.floor(room / w)) : across;
  const high = order ? Math.ceil(count / cols) : Math.max(0, ...rows) + 1;
  const named = w >= least;
  const space = w - 2 * THUMB.pad;
  const step = Math.floor((space * dpr) / Math.max(1, side));
  const thumb = step >= 1 ? (step * side) / dpr : space;
  const top = order || named ? 0 : THUMB.label;
  const h = thumb + 2 * THUMB.pad + THUMB.label + 4;
  const at: ThumbLayout["at"] = heads.map((head, n) => ({ row: high - 1 - rows[n]!, col: head }));
  if (order) for (let k = 0; k < count; k++) at[order[k]!] = { row: Math.floor(k / cols), col: k % cols };
  const inCell = new Int32Array(cols * high).fill(-1);
  at.forEach(({ row, col }, n) => {
    inCell[row * cols + col] = n;
  });
  const size = { width: lane + cols * w, height: top + high * h };
  return { cols, rows: high, cell: { w, h }, thumb, lane, top, ...size, named, at, inCell };
}

/** The head under a point, or -1. */
export function thumbAt(at: ThumbLayout, x: number, y: number): number {
  const col = Math.floor((x - at.lane) / at.cell.w);
  const row = Math.floor((y - at.top) / at.cell.h);
  if (col < 0 || row < 0 || col >= at.cols || row >= at.rows) return -1;
  return at.inCell[row * at.cols + col]!;
}

/** The nearest head to a cell that may have none (layers can differ in heads, the last row may be short). */
export function nearestHead(at: ThumbLayout, row: number, col: number): number {
  for (let c = Math.min(col, at.cols - 1); c >= 0; c--) {
    const found = at.inCell[row * at.cols + c]!;
    if (found >= 0) return found;
  }
  return -1;
}

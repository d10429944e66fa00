// The numbers of a heat map as checked typed arrays, and its cells as addresses.
import type { Address, HeatmapData, Planes } from "./model";
import { float32, uint32 } from "./wire";

/** A heat map, ready to draw. `values[row * cols + col]`, row 0 = the lowest layer. */
export interface Grid {
  data: HeatmapData;
  rows: number;
  cols: number;
  values: Float32Array;
  /** Index into `data.text.strings` for each cell. */
  text: Uint32Array | null;
  /** Index into `data.top.strings` and probability for each cell and rank. */
  top: { k: number; index: Uint32Array; probs: Float32Array } | null;
  also: { label: string; values: Float32Array }[];
  marked: ReadonlySet<number>;
  unknown: ReadonlySet<number>;
}

/** A place in a grid; null for what is not selected. */
export interface Chosen {
  row: number | null;
  col: number | null;
}

const known = new WeakMap<HeatmapData, Grid>();

/** The grid of a heat map's data, decoded once for all views and parts that show it. */
export function gridOf(data: HeatmapData): Grid {
  const grid = known.get(data) ?? decode(data);
  known.set(data, grid);
  return grid;
}

/** Check and decode. @throws RangeError or TypeError, with the name of what does not fit */
export function decode(data: HeatmapData): Grid {
  const [rows, cols] = data.shape;
  if (data.dtype !== "float32") throw new TypeError(`values are ${data.dtype}, float32 was expected`);
  if (data.rows.length !== rows || data.tokens.length !== cols)
    throw new RangeError(`a ${rows} x ${cols} picture came with ${data.rows.length} x ${data.tokens.length} labels`);
  const cells = rows * cols;
  const { text, top, also } = data;
  return {
    data,
    rows,
    cols,
    values: float32(data.data, cells, "data"),
    text: text && uint32(text.index, cells, "text.index"),
    top: top && {
      k: top.k,
      index: uint32(top.index, cells * top.k, "top.index"),
      probs: float32(top.probs, cells * top.k, "top.probs"),
    },
    also: (also?.labels ?? []).map((label, i) => ({ label, values: float32(also?.[i], cells, `also.${i}`) })),
    marked: new Set(data.marked),
    unknown: new Set(data.unknown),
  };
}

/** The address of a cell; of a whole row or column where one of them is null. */
export function addressOf({ data }: Grid, { row, col }: Chosen): Address {
  const [rowAxis, colAxis] = data.axes;
  return {
    ...(row !== null && { [rowAxis]: data.rows[row] ?? row }),
    ...(col !== null && { [colAxis]: data.cols?.[col] ?? col }),
  };
}

/** Where an address is in a grid; what the grid does not show of it is null. */
export function chosenIn(grid: Grid | null, address: Address): Chosen {
  if (!grid) return { row: null, col: null };
  const { data, cols } = grid;
  const [rowAxis, colAxis] = data.axes;
  const row = data.rows.indexOf(address[rowAxis] as number);
  const wanted = address[colAxis] as number | undefined;
  const col = wanted === undefined ? -1 : data.cols ? data.cols.indexOf(wanted) : wanted;
  return { row: row < 0 ? null : row, col: col < 0 || col >= cols ? null : col };
}

/** The numbers of the side panel of an exported page for one cell, by label. */
export function planeValues(planes: Planes, row: number, col: number): Float32Array {
  const [rows, cols, n] = planes.shape;
  const all = float32(planes.data, rows * cols * n, "planes");
  return all.subarray((row * cols + col) * n, (row * cols + col + 1) * n);
}

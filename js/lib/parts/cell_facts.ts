// What is to be said about one cell of a heat map.

import type { Cell } from "../canvas/layout";
import { formatAs, numberText, tickText } from "../canvas/number";
import { BAD, indexer, OVER, scaleLabel, UNDER } from "../canvas/scale";
import { printable } from "../canvas/text";
import type { Facts } from "../page/facts";
import { addressOf, type Grid, planeValues } from "../wire/grid";
import type { Details, Planes } from "../wire/model";

export function facts(grid: Grid, { row, col }: Cell): Facts {
  const { data } = grid;
  const cell = row * grid.cols + col;
  const value = grid.values[cell] ?? Number.NaN;
  return {
    at: addressOf(grid, { row, col }),
    lead: `${data.row_name} ${data.rows[row] ?? row}`,
    token: printable(data.tokens[col] ?? ""),
    where: data.column_name ? "" : `position ${col}`,
    label: scaleLabel(data.scale),
    value: numberText(value, 4),
    also: grid.also.map(({ label, values }) => ({ label, value: numberText(values[cell] ?? Number.NaN, 4) })),
    notes: notes(grid, col, value),
    top: topTokens(grid, cell),
  };
}

/** Details of a cell from what an exported page carries. */
export function offlineDetails(planes: Planes, grid: Grid, { row, col }: Cell): Details {
  const at = addressOf(grid, { row, col });
  const whole = planes.known?.find((details) => JSON.stringify(details.at) === JSON.stringify(at));
  if (whole) return whole;
  const values = planeValues(planes, row, col);
  return {
    at,
    rows: planes.labels.map((label, i) => {
      const value = values[i]!;
      return { label, value: Number.isNaN(value) ? "not defined" : formatAs(planes.formats[i] ?? "", value) };
    }),
    top: [],
  };
}

function notes(grid: Grid, col: number, value: number): string[] {
  const { scale } = grid.data;
  const place = indexer(scale)(value);
  const out: string[] = [];
  if (Number.isNaN(value)) out.push("not a number: there is no value here");
  else if (!Number.isFinite(value)) out.push("not finite");
  else if (place === BAD) out.push("no scale: nothing finite to set it");
  if (place === OVER) out.push(`above the colour scale (${limit(scale.high)})`);
  if (place === UNDER) out.push(`below the colour scale (${limit(scale.low)})`);
  if (grid.marked.has(col)) out.push("marked: left out of the scale");
  if (grid.unknown.has(col)) out.push("the tokenizer does not know this word");
  return out;
}

function topTokens(grid: Grid, cell: number): Facts["top"] {
  const { top } = grid;
  const strings = grid.data.top?.strings;
  if (!top || !strings) return [];
  return Array.from({ length: top.k }, (_, rank) => ({
    token: printable(strings[top.index[cell * top.k + rank]!] ?? ""),
    prob: top.probs[cell * top.k + rank]!,
  }));
}

const limit = (value: number | null): string => (value === null ? "none" : tickText(value));

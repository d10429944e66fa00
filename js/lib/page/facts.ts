// What is to be said about one cell: the one source of the tooltip, the side panel and the spoken label.

import type { Cell } from "../canvas/layout";
import { numberText, tickText } from "../canvas/number";
import { BAD, indexer, OVER, scaleLabel, UNDER } from "../canvas/scale";
import { printable } from "../canvas/text";
import type { TopToken } from "../wire/model";
import type { Grid } from "../wire/wire";
import { probabilityText } from "./bars";

export interface Facts {
  layer: number;
  pos: number;
  rowName: string;
  /** "position 5", or nothing where the token says what the column is. */
  where: string;
  token: string;
  /** "norm", with units, and the value as text. */
  label: string;
  value: string;
  also: { label: string; value: string }[];
  notes: string[];
  top: TopToken[];
}

export function facts(grid: Grid, { row, col }: Cell): Facts {
  const { frame } = grid;
  const cell = row * grid.cols + col;
  const value = grid.values[cell] ?? Number.NaN;
  return {
    layer: frame.rows[row] ?? row,
    pos: col,
    rowName: frame.row_name,
    where: frame.column_name ? "" : `position ${col}`,
    token: printable(frame.tokens[col] ?? ""),
    label: scaleLabel(frame.scale),
    value: numberText(value, 4),
    also: grid.also.map(({ label, values }) => ({ label, value: numberText(values[cell] ?? Number.NaN, 4) })),
    notes: notes(grid, col, value),
    top: topTokens(grid, cell),
  };
}

function notes(grid: Grid, col: number, value: number): string[] {
  const { scale } = grid.frame;
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
  const strings = grid.frame.top?.strings;
  if (!top || !strings) return [];
  return Array.from({ length: top.k }, (_, rank) => ({
    token: printable(strings[top.index[cell * top.k + rank]!] ?? ""),
    prob: top.probs[cell * top.k + rank]!,
  }));
}

/** One sentence for a screen reader. */
export function spoken(f: Facts, selected: boolean): string {
  const column = f.where ? `token ${f.token}, ${f.where}` : f.token;
  const parts = [
    `${f.rowName} ${f.layer}, ${column}: ${f.label} ${f.value}`,
    ...f.also.map(({ label, value }) => `${label} ${value}`),
    ...f.notes,
  ];
  const best = f.top[0];
  if (best) parts.push(`top token ${best.token}, probability ${probabilityText(best.prob)}`);
  if (selected) parts.push("selected");
  return parts.join(", ");
}

const limit = (value: number | null): string => (value === null ? "none" : tickText(value));

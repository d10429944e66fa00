// A heat map as a table: one line a cell.
import type { Grid } from "../wire/grid";

const field = (value: string): string => (/[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);

export function gridCsv(grid: Grid): string {
  const { data, rows, cols, values } = grid;
  const { label, units } = data.scale;
  const heads = [data.row_name, data.column_name ?? "pos", "token", units ? `${label} (${units})` : label];
  const lines = [heads.map(field).join(",")];
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++)
      lines.push(`${data.rows[row]},${col},${field(data.tokens[col] ?? "")},${values[row * cols + col]}`);
  return `${lines.join("\n")}\n`;
}

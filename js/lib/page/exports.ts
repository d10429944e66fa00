// Files for the user: what Python made, or, in a page with no kernel, what the picture itself can give.

import type { ExportFormat } from "../wire/model";
import type { Grid } from "../wire/wire";
import type { MenuItem } from "./menu";

const FORMATS: readonly [ExportFormat, string, string][] = [
  ["png", "Picture", "PNG"],
  ["svg", "Vector picture", "SVG"],
  ["csv", "Table", "CSV"],
  ["html", "Web page", "HTML"],
];

/** What Python makes. */
export const pythonExports = (ask: (format: ExportFormat) => void): MenuItem[] =>
  FORMATS.map(([format, label, hint]) => ({ label, hint, act: () => ask(format) }));

/** What can be had with no kernel. */
export function localExports(grid: Grid | null, image: () => Promise<Blob | null>): MenuItem[] {
  if (!grid) return [];
  const name = grid.frame.title.toLowerCase().replace(/[^a-z0-9]+/g, "-") || "picture";
  const picture = async () => {
    const blob = await image();
    if (blob) download(`${name}.png`, "image/png", blob);
  };
  return [
    { label: "Picture", hint: "PNG", act: () => void picture() },
    { label: "Table", hint: "CSV", act: () => download(`${name}.csv`, "text/csv", gridCsv(grid)) },
  ];
}

export function download(name: string, mime: string, data: BlobPart): void {
  const url = URL.createObjectURL(new Blob([data], { type: mime }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const field = (value: string): string => (/[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);

/** The grid as CSV: one line a cell. */
export function gridCsv(grid: Grid): string {
  const { frame, rows, cols, values } = grid;
  const lines = [[frame.row_name, frame.column_name ?? "pos", "token", frame.scale.label].map(field).join(",")];
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++)
      lines.push(`${frame.rows[row]},${col},${field(frame.tokens[col] ?? "")},${values[row * cols + col]}`);
  return `${lines.join("\n")}\n`;
}

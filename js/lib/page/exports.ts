// Files for the user: what Python made, or, in a page with no kernel, what the picture itself can give.

import type { ExportFormat } from "../wire/model";
import type { MenuItem } from "./menu";
import type { LocalFile, Part } from "./part";

const FORMATS: readonly [ExportFormat, string, string][] = [
  ["png", "Picture", "PNG"],
  ["svg", "Vector picture", "SVG"],
  ["csv", "Table", "CSV"],
  ["html", "Web page", "HTML"],
];

/** What Python makes, and beside it the files of parts that it makes none of. */
export const pythonExports = (
  ask: (format: ExportFormat) => void,
  title: string,
  parts: readonly Part[],
): MenuItem[] => [
  ...FORMATS.map(([format, label, hint]) => ({ label, hint, act: () => ask(format) })),
  ...localExports(
    title,
    parts.filter(({ apart }) => apart),
  ),
];

/** What can be had with no kernel: the parts' own files. */
export const localExports = (title: string, parts: readonly Part[]): MenuItem[] =>
  parts
    .flatMap((part) => part.files?.() ?? [])
    .map(({ label, hint, mime, make }) => ({ label, hint, act: () => void save(title, hint, mime, make) }));

async function save(title: string, hint: string, mime: string, make: LocalFile["make"]): Promise<void> {
  const data = await make();
  const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-") || "picture";
  if (data) download(`${name}.${hint.toLowerCase()}`, mime, data);
}

export function download(name: string, mime: string, data: BlobPart): void {
  const url = URL.createObjectURL(new Blob([data], { type: mime }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

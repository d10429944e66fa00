// The signs that a heat map has on show, for its legend.
import type { Entry } from "../page/terms";
import type { Grid } from "../wire/grid";

export function signsOf({ data, values, marked, unknown }: Grid): Entry[] {
  const tokens = data.tokens.join("") + (data.text?.strings.join("") ?? "") + (data.top?.strings.join("") ?? "");
  const found: Entry[] = [];
  const add = (on: boolean, sign: string, meaning: string) => on && found.push([sign, meaning]);
  add(tokens.includes("\u00b7"), "\u00b7", "A space: it belongs to the token.");
  add(tokens.includes("\u21b5"), "\u21b5", "A line break.");
  add(
    marked.size > 0,
    "hatched",
    "Its numbers are out of proportion (as of the first token), and left out of the colour scale.",
  );
  add(unknown.size > 0, "amber, underlined", "A word that the tokenizer does not know.");
  add(data.scale.over, "\u25e5", "Above the end of the colour scale.");
  add(data.scale.under, "\u25e2", "Below the end of the colour scale.");
  add(values.some(Number.isNaN), "\u2715", "No number: not computed, or not defined there.");
  return found;
}

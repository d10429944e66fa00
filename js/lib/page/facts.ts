// What is to be said about what is selected or pointed at: the source of tooltip, side panel and spoken label.

import type { Address, TopToken } from "../wire/model";
import { probabilityText } from "./bars";

export interface Facts {
  at: Address;
  /** "layer 3". */
  lead: string;
  token: string;
  /** "position 5", or nothing where the token says what the column is. */
  where: string;
  /** "norm", with units, and the value as text. */
  label: string;
  value: string;
  also: { label: string; value: string }[];
  notes: string[];
  top: TopToken[];
  /** What the bars of `top` are, where they are no likely next tokens. */
  topLabel?: string;
}

/** One sentence for a screen reader. */
export function spoken(f: Facts, selected: boolean): string {
  const column = f.where ? `token ${f.token}, ${f.where}` : f.token;
  const parts = [
    `${f.lead}, ${column}: ${f.label} ${f.value}`,
    ...f.also.map(({ label, value }) => `${label} ${value}`),
    ...f.notes,
  ];
  const best = f.top[0];
  if (best && f.topLabel) parts.push(`${f.topLabel} ${best.token} ${probabilityText(best.prob)}`);
  else if (best) parts.push(`top token ${best.token}, probability ${probabilityText(best.prob)}`);
  if (selected) parts.push("selected");
  return parts.join(", ");
}

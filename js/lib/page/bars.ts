// Tokens with their probabilities as bars: in the side panel and, smaller, in the tooltip.

import { printable } from "../canvas/text";
import { h, tokenSpan } from "../dom/dom";
import type { Section, TopToken } from "../wire/model";

const SHOWN = 10;

/** Probability as text: two decimals, or less-than where that would say zero. */
export const probabilityText = (prob: number | null): string => {
  if (prob === null || !Number.isFinite(prob)) return "not defined";
  return prob > 0 && prob < 0.005 ? "<0.01" : prob.toFixed(2);
};

/** A token, a bar of some share of its lane, and a number. */
export function barRow(token: string, share: number, text: string, style = ""): HTMLElement {
  const bar = h("span", `rw-bar ${style}`);
  bar.style.setProperty("--rw-share", String(Math.max(0, Math.min(1, share)) || 0));
  const name = tokenSpan(printable(token));
  name.title = printable(token);
  return h(
    "div",
    `rw-bar-row ${style}`,
    { role: "listitem" },
    name,
    h("span", "rw-bar-lane", { "aria-hidden": "true" }, bar),
    h("span", "rw-number", {}, text),
  );
}

/** A list of tokens; bars are relative to 1, so that two cells can be compared. */
export function tokenBars(top: readonly TopToken[], limit = SHOWN): HTMLElement {
  const rows = top.slice(0, limit).map(({ token, prob }) => barRow(token, prob ?? 0, probabilityText(prob)));
  return h("div", "rw-bars", { role: "list" }, ...rows);
}

/** Signed bars under a heading: what is below zero has another colour, and its sign in the number. */
export function sectionOf({ heading, note, none, bars }: Section): HTMLElement[] {
  const title = h("div", "rw-heading", {}, printable(heading), note && h("span", "rw-dim", {}, ` ${printable(note)}`));
  const rows = bars.map(({ name, share, text }) =>
    barRow(name, Math.abs(share), text, share < 0 ? "rw-less" : "rw-more"),
  );
  if (none) return [title, h("div", "rw-dim rw-line", {}, printable(none))];
  return [title, h("div", "rw-bars rw-signed", { role: "list" }, ...rows)];
}

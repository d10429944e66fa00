// Tokens with their probabilities as bars: in the side panel and, smaller, in the tooltip.
import { h, tokenSpan } from "./dom";
import type { TopToken } from "./model";
import { printable } from "./text";

const SHOWN = 10;

/** Probability as text: two decimals, or less-than where that would say zero. */
export const probabilityText = (prob: number | null): string => {
  if (prob === null || !Number.isFinite(prob)) return "not defined";
  return prob > 0 && prob < 0.005 ? "<0.01" : prob.toFixed(2);
};

/** A list of tokens; bars are relative to 1, so that two cells can be compared. */
export function tokenBars(top: readonly TopToken[], limit = SHOWN): HTMLElement {
  const list = h("div", "rw-bars", { role: "list" });
  for (const { token, prob } of top.slice(0, limit)) {
    const bar = h("span", "rw-bar");
    bar.style.setProperty("--rw-share", String(Math.max(0, Math.min(1, prob ?? 0)) || 0));
    const name = tokenSpan(printable(token));
    name.title = printable(token);
    list.append(
      h(
        "div",
        "rw-bar-row",
        { role: "listitem" },
        name,
        h("span", "rw-bar-lane", { "aria-hidden": "true" }, bar),
        h("span", "rw-number", {}, probabilityText(prob)),
      ),
    );
  }
  return list;
}

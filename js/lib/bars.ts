// Tokens with their probabilities as bars: in the side panel and, smaller, in the tooltip.
import { h, tokenSpan } from "./dom";
import { numberText } from "./number";
import { printable } from "./text";

const SHOWN = 10;

/** Probability as text: two decimals, or less-than where that would say zero. */
export const probabilityText = (prob: number): string =>
  prob > 0 && prob < 0.005 ? "<0.01" : Number.isFinite(prob) ? prob.toFixed(2) : numberText(prob);

/** A list of tokens; bars are relative to 1, so that two cells can be compared. */
export function tokenBars(top: readonly { token: string; prob: number }[], limit = SHOWN): HTMLElement {
  const list = h("div", "rw-bars", { role: "list" });
  for (const { token, prob } of top.slice(0, limit)) {
    const bar = h("span", "rw-bar");
    bar.style.setProperty("--rw-share", String(Math.max(0, Math.min(1, prob)) || 0));
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

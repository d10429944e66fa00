// The upper part of the side panel, where a widget has one: a metric before and now, next tokens, what is active.

import { printable } from "../canvas/text";
import { h, tokenSpan } from "../dom/dom";
import type { Summary } from "../wire/model";
import { probabilityText } from "./bars";

export interface SummaryState {
  summary: Summary;
  /** Chips that were taken off and are not confirmed. */
  going(id: string): boolean;
  /** Null where there is no Python to ask. */
  drop: ((id: string) => void) | null;
}

export function summaryContent({ summary, going, drop }: SummaryState): HTMLElement[] {
  const out = [
    h("div", "rw-heading rw-dim", {}, printable(summary.name)),
    h(
      "div",
      "rw-metric",
      { "aria-live": "polite" },
      h("b", "rw-now rw-number", {}, printable(summary.now)),
      summary.change && h("b", `rw-change rw-number ${CHANGES[summary.direction]}`, {}, printable(summary.change)),
      summary.change && h("span", "rw-dim", {}, `was ${printable(summary.before)}`),
    ),
    h("div", "rw-heading", {}, "Next token ", h("span", "rw-dim", {}, summary.chips.length ? "before / after" : "")),
    compared(summary),
    h(
      "div",
      "rw-heading",
      {},
      "Active ",
      h("span", "rw-dim", {}, `${summary.count} intervention${summary.count === 1 ? "" : "s"}`),
    ),
  ];
  if (!summary.chips.length)
    out.push(h("div", "rw-dim rw-line", {}, summary.hint ?? "Click a cell, or drag over several."));
  else out.push(chips({ summary, going, drop }));
  if (summary.note) out.push(h("div", "rw-dim rw-line", {}, printable(summary.note)));
  return out;
}

const CHANGES = { [-1]: "rw-fell", 0: "", 1: "rw-rose" } as const;
const share = (prob: number | null): string => String(Math.max(0, Math.min(1, prob ?? 0)) || 0);

function compared({ compared, chips }: Summary): HTMLElement {
  const list = h("div", "rw-bars", { role: "list" });
  for (const { token, before, after } of compared) {
    const name = tokenSpan(printable(token));
    name.title = printable(token);
    const lane = h("span", "rw-bar-lane", { "aria-hidden": "true" });
    const numbers = h("span", "rw-number rw-two");
    for (const [prob, style, said] of [
      [before, chips.length ? "rw-bar rw-was" : "rw-bar", "before"],
      [after, "rw-bar", "after"],
    ] as const) {
      if (said === "after" && !chips.length) continue;
      const bar = h("span", style);
      bar.style.setProperty("--rw-share", share(prob));
      lane.append(bar);
      numbers.append(h("span", "", { title: said }, probabilityText(prob)));
    }
    list.append(h("div", "rw-bar-row", { role: "listitem" }, name, lane, numbers));
  }
  return list;
}

function chips({ summary, going, drop }: SummaryState): HTMLElement {
  const list = h("div", "rw-chips", { role: "list" });
  for (const { id, label, token, place } of summary.chips) {
    const text = printable([label, token, place].filter(Boolean).join(" "));
    const name = `Take off ${text}`;
    const off = h("button", "rw-off", { type: "button", "aria-label": name, title: "Take off" }, "\u00d7");
    off.disabled = drop === null;
    if (going(id)) off.setAttribute("aria-disabled", "true"); // not disabled: it keeps the keyboard's focus
    off.addEventListener("click", () => drop?.(id));
    const words = h("span", "", {}, printable(label), token && " ", token && tokenSpan(printable(token)));
    if (place) words.append(` ${place}`);
    list.append(h("div", `rw-chip${going(id) ? " rw-going" : ""}`, { role: "listitem", title: text }, words, off));
  }
  if (summary.left) list.append(h("div", "rw-dim", { role: "listitem" }, `and ${summary.left} more`));
  return list;
}

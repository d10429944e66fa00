// The footer: every check in words, the failed ones first and loud, and where the picture comes from.

import { numberText } from "../canvas/number";
import { printable } from "../canvas/text";
import { h } from "../dom/dom";
import type { Check } from "../wire/model";

const WORDS = { red: "failed", amber: "note", green: "holds" } as const;
/** More passed checks than this are counted, until asked for. */
const GREENS = 4;

const tip = ({ name, value, limit }: Check): string => {
  const found = value === null || value === undefined ? "" : `: ${numberText(value)}`;
  return name + found + (limit === null || limit === undefined ? "" : `, limit ${numberText(limit)}`);
};

function item(check: Check): HTMLElement {
  const mark = h("span", "rw-dot", { "aria-hidden": "true" });
  // The level in words: seen where it matters, always spoken.
  const word = h("span", check.level === "red" ? "rw-word" : "rw-hidden-text", {}, `${WORDS[check.level]}: `);
  return h("div", `rw-check rw-${check.level}`, { role: "listitem", title: tip(check) }, mark, word, check.text);
}

/** The checks as list items; `more` is called by the button that shows the passed ones left out. */
function checkItems(checks: readonly Check[], all: boolean, more: () => void): HTMLElement[] {
  const failed = (check: Check) => Number(check.level === "red");
  const sorted = [...checks].sort((a, b) => failed(b) - failed(a));
  const greens = sorted.filter((check) => check.level === "green");
  const hidden = all || greens.length <= GREENS + 1 ? [] : greens.slice(GREENS);
  const items = sorted.filter((check) => !hidden.includes(check)).map(item);
  if (!hidden.length) return items;
  const button = h("button", "rw-link", { type: "button" }, `and ${hidden.length} more that hold`);
  button.addEventListener("click", more);
  return [
    ...items,
    h("div", "rw-check rw-green", { role: "listitem" }, h("span", "rw-dot", { "aria-hidden": "true" }), button),
  ];
}

/** The checks, those of each thing that they are about in a line of their own, under its name. */
export function checkGroups(checks: readonly Check[], all: boolean, more: () => void): HTMLElement[] {
  return [...new Set(checks.map(({ of }) => of ?? ""))].map((of) => {
    const own = checks.filter((check) => (check.of ?? "") === of);
    const label = of ? `Checks of ${printable(of)}` : "Checks";
    const items = h("div", "rw-checks", { role: "list", "aria-label": label }, ...checkItems(own, all, more));
    return h("div", "rw-check-group", {}, of && h("span", "rw-check-of", {}, printable(of)), items);
  });
}

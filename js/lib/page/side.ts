// The side panel: a summary, then the selection: at once from what the parts know of it, then from Python's details.

import { printable } from "../canvas/text";
import { h, toggle, tokenSpan } from "../dom/dom";
import type { Address, Details, HostModel } from "../wire/model";
import { same } from "../wire/optimistic";
import { sectionOf, tokenBars } from "./bars";
import type { Editing } from "./editing";
import type { Facts } from "./facts";
import type { Part } from "./part";
import { summaryContent } from "./summary";

export class Side {
  constructor(
    private readonly el: HTMLElement,
    private readonly model: HostModel,
    private readonly parts: readonly Part[],
    private readonly editing: Editing,
  ) {}

  /** Python's details of an address, or those that an exported page carries. */
  details(at: Address): Details | null {
    const sent = this.model.get("details");
    const status = this.model.get("status");
    // While a picture fills, Python's details are those of the last whole one.
    const fills = status?.state === "busy" && status.progress !== undefined;
    if (sent && !fills && same(sent.at, at)) return sent;
    const planes = this.model.get("planes");
    return planes ? this.#first((part) => part.told?.(at, planes)) : null;
  }

  /** Fill it for what is selected; `asked`: something is on its way from Python. */
  fill(at: Address, asked: boolean): void {
    const facts = this.#first((part) => part.facts?.(at));
    const details = facts && this.details(at);
    const summary = this.model.get("summary") ?? null;
    const { editing } = this;
    const above = summary
      ? summaryContent({
          summary,
          going: (id) => editing.isDropped(id),
          drop: editing.possible ? (id) => editing.drop(id) : null,
        })
      : [];
    const hint = this.parts.find((part) => part.hint)?.hint;
    const below = (summary && !facts) || hint === undefined ? [] : content(facts, details, !details && asked, hint);
    const all = [...above, ...below, ...this.parts.flatMap((part) => part.more?.() ?? [])];
    toggle(this.el, all.length > 0);
    refill(this.el, all);
  }

  #first<Told>(tell: (part: Part) => Told | null | undefined): Told | null {
    for (const part of this.parts) {
      const told = tell(part);
      if (told) return told;
    }
    return null;
  }
}

const heading = (f: Facts, details: Details | null): HTMLElement =>
  details?.heading
    ? h("div", "rw-heading", {}, printable(details.heading))
    : h(
        "div",
        "rw-heading",
        {},
        `${f.lead} \u00b7 `,
        tokenSpan(f.token),
        h("span", "rw-dim", {}, f.where && ` ${f.where}`),
      );

const row = (label: string, value: string): HTMLElement =>
  h("div", "rw-row", {}, h("span", "rw-dim", {}, label), h("span", "rw-number", {}, printable(value)));

/** Shown while nothing is selected: what can be done. */
const empty = (hint: string): HTMLElement[] => [
  h("div", "rw-heading", {}, "Nothing selected"),
  h("div", "rw-dim rw-line", {}, hint),
  h(
    "div",
    "rw-dim rw-line rw-keys",
    {},
    h("kbd", "", {}, "arrows"),
    " move, ",
    h("kbd", "", {}, "Enter"),
    " selects, ",
    h("kbd", "", {}, "Esc"),
    " clears",
  ),
];

function content(facts: Facts | null, details: Details | null, waiting: boolean, hint: string): HTMLElement[] {
  if (!facts) return empty(hint);
  const rows = details?.rows.length ? details.rows : [{ label: facts.label, value: facts.value }, ...facts.also];
  const top = details?.top.length ? details.top : facts.top;
  const out = [
    heading(facts, details),
    h("div", "rw-rows", {}, ...rows.map(({ label, value }) => row(label, value))),
    ...facts.notes.map((note) => h("div", "rw-note", {}, note)),
  ];
  if (top.length)
    out.push(
      h("div", "rw-heading", {}, details?.top_label ?? facts.topLabel ?? "Likeliest next tokens"),
      tokenBars(top),
    );
  for (const section of details?.sections ?? []) out.push(...sectionOf(section));
  if (waiting) out.push(h("div", "rw-dim rw-line", {}, "more details are on their way\u2026"));
  return out;
}

/** Put content in place of the old one; a list keeps its scrolling, and the keyboard its place in it. */
function refill(side: HTMLElement, content: readonly HTMLElement[]): void {
  const list = () => side.querySelector(".rw-chips");
  const buttons = () => [...side.querySelectorAll("button")];
  const scroll = list()?.scrollTop ?? 0;
  const focused = buttons().indexOf((side.getRootNode() as Document | ShadowRoot).activeElement as HTMLButtonElement);
  side.replaceChildren(...content);
  if (scroll) list()?.scrollTo(0, scroll);
  if (focused >= 0) (buttons()[focused] ?? buttons().at(-1))?.focus();
}

// The side panel: the details of the selected cell, at once from what the picture knows, then from Python.

import { formatAs } from "../canvas/number";
import { printable } from "../canvas/text";
import { h, tokenSpan } from "../dom/dom";
import type { Details, Planes } from "../wire/model";
import { type Grid, planeValues } from "../wire/wire";
import { tokenBars } from "./bars";
import type { Facts } from "./facts";

export interface SideState {
  /** The selected cell, or null. */
  facts: Facts | null;
  /** Python's details, only where they are of this cell. */
  details: Details | null;
  /** Details are on their way. */
  waiting: boolean;
}

/** Details of a cell from what an exported page carries. */
export function offlineDetails(planes: Planes | null, grid: Grid, row: number, col: number): Details | null {
  if (!planes) return null;
  const layer = grid.frame.rows[row] ?? row;
  const whole = planes.known?.find((details) => details.layer === layer && details.pos === col);
  if (whole) return whole;
  const values = planeValues(planes, row, col);
  return {
    layer,
    pos: col,
    rows: planes.labels.map((label, i) => {
      const value = values[i]!;
      return { label, value: Number.isNaN(value) ? "not defined" : formatAs(planes.formats[i] ?? "", value) };
    }),
    top: [],
  };
}

const heading = (f: Facts, details: Details | null): HTMLElement =>
  details?.heading
    ? h("div", "rw-heading", {}, printable(details.heading))
    : h(
        "div",
        "rw-heading",
        {},
        `${f.rowName} ${f.layer} \u00b7 `,
        tokenSpan(f.token),
        h("span", "rw-dim", {}, f.where && ` ${f.where}`),
      );

const row = (label: string, value: string): HTMLElement =>
  h("div", "rw-row", {}, h("span", "rw-dim", {}, label), h("span", "rw-number", {}, printable(value)));

/** Shown while nothing is selected: what can be done. */
const empty = (): HTMLElement[] => [
  h("div", "rw-heading", {}, "Nothing selected"),
  h("div", "rw-dim rw-line", {}, "Click a cell for its details."),
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

export function sideContent({ facts, details, waiting }: SideState): HTMLElement[] {
  if (!facts) return empty();
  const rows = details?.rows.length ? details.rows : [{ label: facts.label, value: facts.value }, ...facts.also];
  const top = details?.top.length ? details.top : facts.top;
  const out = [
    heading(facts, details),
    h("div", "rw-rows", {}, ...rows.map(({ label, value }) => row(label, value))),
    ...facts.notes.map((note) => h("div", "rw-note", {}, note)),
  ];
  if (top.length) out.push(h("div", "rw-heading", {}, details?.top_label ?? "Likeliest next tokens"), tokenBars(top));
  if (waiting) out.push(h("div", "rw-dim rw-line", {}, "more details are on their way\u2026"));
  return out;
}

/** Put content in place of the old one; a list keeps its scrolling, and the keyboard its place in it. */
export function refill(side: HTMLElement, content: readonly HTMLElement[]): void {
  const list = () => side.querySelector(".rw-chips");
  const buttons = () => [...side.querySelectorAll("button")];
  const scroll = list()?.scrollTop ?? 0;
  const focused = buttons().indexOf((side.getRootNode() as Document | ShadowRoot).activeElement as HTMLButtonElement);
  side.replaceChildren(...content);
  if (scroll) list()?.scrollTo(0, scroll);
  if (focused >= 0) (buttons()[focused] ?? buttons().at(-1))?.focus();
}

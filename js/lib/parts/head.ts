// The open head: where each token looks, as a grid of positions or as arcs over the tokens.
import "./heatmap.css";
import "./attention.css";
import { printable } from "../canvas/text";
import { h, setText, toggle } from "../dom/dom";
import { dataOf, type MakePart } from "../page/part";
import type { Address, Buffer, Scale } from "../wire/model";
import { float32 } from "../wire/wire";
import { Arcs } from "./arcs";
import { spotFacts } from "./head_facts";
import { Matrix } from "./matrix";
import type { Spot } from "./matrix_layout";
import type { Picture } from "./matrix_paint";

/** One head as it travels; `open` is false where none is. */
export interface HeadData {
  open: boolean;
  /** Said while none is open. */
  blank?: string;
  layer: number;
  head: number;
  kind: string;
  n: number;
  data: Buffer;
  tokens: string[];
  marked: number[];
  unknown: number[];
  scale: Scale;
  causal: boolean;
  /** "grid" or "arcs", at first and whenever Python changes it. */
  view: string;
  /** The norm of what is written at each position, or null. */
  written: Buffer;
  /** Values up to this are no more than rounding. */
  rounding: number;
  /** What a person would else not expect of the picture. */
  note: string;
}

export function decodeHead(data: HeadData): Picture {
  return {
    n: data.n,
    values: float32(data.data, data.n ** 2, "head"),
    tokens: data.tokens,
    marked: new Set(data.marked),
    unknown: new Set(data.unknown),
    scale: data.scale,
    causal: data.causal,
    rounding: data.scale.kind === "diverging" ? data.rounding : 0,
    written: data.written && float32(data.written, data.n, "written"),
  };
}

const VIEWS = ["grid", "arcs"] as const;
type View = (typeof VIEWS)[number];

export const head: MakePart = ({ select, signal }, name) => {
  let data: HeadData | null = null;
  let picture: Picture | null = null;
  let address: Address = {};

  const lead = () => (data?.open ? `head ${data.layer}.${data.head}` : "");
  const to = ({ q, k }: Spot): Address => {
    const { pos: _, key_pos: __, ...rest } = address;
    return { ...rest, ...(q !== null && { pos: q }), ...(k !== null && { key_pos: k }) };
  };
  const spotOf = (at: Address): Spot => {
    const index = (value: unknown) => (typeof value === "number" && picture && value < picture.n ? value : null);
    return { q: index(at.pos), k: index(at.key_pos) };
  };
  const isOpen = (at: Address) => data?.open && at.layer === data.layer && at.head === data.head;
  const factsOf = (spot: Spot) =>
    picture && (spot.q !== null || spot.k !== null) ? { at: to(spot), ...spotFacts(picture, lead(), spot) } : null;

  const events = {
    select: (spot: Spot) => select(to(spot)),
    reset: () => select(to({ q: null, k: null })),
    facts: factsOf,
  };
  const matrix = new Matrix(events, signal);
  const arcs = new Arcs(events, signal);
  let view: View = "grid";
  const buttons = VIEWS.map((each) => h("button", "rw-button rw-small", { type: "button" }, each));
  const as = h("span", "rw-group", { role: "group", "aria-label": "Shown as" }, ...buttons);
  buttons.forEach((button, i) => {
    button.addEventListener("click", () => look(VIEWS[i]!), { signal });
  });

  /** Show it the other way; what is hidden has no size, and is drawn when it comes into view. */
  function look(as: View): void {
    view = as;
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(VIEWS[i] === as));
    });
    const open = picture !== null;
    for (const part of [matrix.el, axes]) toggle(part, open && as === "grid");
    if (!open || as !== "grid") toggle(matrix.zoomBar.el, false);
    toggle(arcs.el, open && as === "arcs");
    if (open) (as === "grid" ? matrix : arcs).redraw();
  }
  const title = h("b");
  const axes = h("span", "rw-dim", {}, " to (down) from (across)");
  const heading = h("div", "rw-part-heading", {}, title, axes, h("span", "rw-grow"), as);
  const blank = h("div", "rw-dim rw-line");
  const note = h("div", "rw-note", { role: "status" });
  const el = h("div", "rw-head-part", {}, heading, note, blank, matrix.el, arcs.el, matrix.zoomBar.el);
  toggle(el, false);

  return {
    el,
    reset() {
      matrix.resetView();
      arcs.resetView();
      if (data) look(data.view as View);
    },
    recolour(colours) {
      matrix.recolour(colours);
      arcs.recolour(colours);
    },
    refresh({ frame, selection, arrived }) {
      const now = dataOf<HeadData>(frame, name);
      address = selection;
      if (now && now !== data) {
        const asked = now.open && now.view !== data?.view ? (now.view as View) : view;
        data = now;
        picture = now.open ? decodeHead(now) : null;
        toggle(el, true);
        toggle(blank, !now.open);
        setText(blank, now.blank ?? "");
        toggle(as, now.open);
        setText(note, printable(now.note ?? ""));
        toggle(note, Boolean(now.note));
        setText(title, now.open ? `Head ${now.layer}.${now.head}` : "One head");
        if (picture) {
          const label = `Head ${now.layer}.${now.head}: ${printable(now.kind)}`;
          matrix.show(picture, label, spotOf(selection), arrived);
          arcs.show(picture, label, spotOf(selection));
        }
        look(asked);
      } else {
        matrix.select(spotOf(selection));
        arcs.select(spotOf(selection));
      }
    },
    facts: (at) => (isOpen(at) ? factsOf(spotOf(at)) : null),
    get measured() {
      return data?.open ? data.scale.label : "";
    },
    signs: () => (picture && view === "grid" ? signsOf(picture) : []),
    apart: true,
    files: () => [
      { label: "Open head", hint: "PNG", mime: "image/png", make: () => (view === "grid" ? matrix : arcs).image() },
      {
        label: "Open head",
        hint: "SVG",
        mime: "image/svg+xml",
        make: async () => matrix.svg(title.textContent ?? ""),
      },
      { label: "Open head", hint: "CSV", mime: "text/csv", make: async () => (picture ? headCsv(picture) : null) },
    ],
  };
};

/** What the picture's signs mean, those that it has. */
const signsOf = ({ marked, written }: Picture): [string, string][] =>
  [
    ...(marked.size ? [["hatched", "Marked positions (the first one, attention sinks): left out of the scale."]] : []),
    ...(written ? [["writes", "The norm of what the head adds to the stream at each position."]] : []),
  ] as [string, string][];

/** One row a pair of positions. */
export function headCsv({ n, values, tokens, causal }: Picture): string {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const out = ["pos,key_pos,token,key_token,value"];
  for (let q = 0; q < n; q++)
    for (let k = 0; k < (causal ? q + 1 : n); k++)
      out.push([q, k, quoted(tokens[q] ?? ""), quoted(tokens[k] ?? ""), values[q * n + k]].join(","));
  return out.join("\n");
}

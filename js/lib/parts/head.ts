// The open head: where each token looks, as a grid of positions or as arcs over the tokens.
import "./heatmap.css";
import "./attention.css";
import { printable } from "../canvas/text";
import { h, setText, toggle } from "../dom/dom";
import { dataOf, type MakePart } from "../page/part";
import type { Address, Buffer, Scale } from "../wire/model";
import { float32 } from "../wire/wire";
import { Matrix, spotFacts } from "./matrix";
import type { Spot } from "./matrix_layout";
import type { Picture } from "./matrix_paint";

/** One head as it travels; `open` is false where none is. */
export interface HeadData {
  open: boolean;
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
  view: string;
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
  };
}

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

  const matrix = new Matrix(
    { select: (spot) => select(to(spot)), reset: () => select(to({ q: null, k: null })), facts: factsOf },
    signal,
  );
  const title = h("b");
  const axes = h("span", "rw-dim", {}, " to (down) from (across)");
  const heading = h("div", "rw-part-heading", {}, title, axes);
  const blank = h("div", "rw-dim rw-line", {}, "Click a head to open it.");
  const el = h("div", "rw-head-part", {}, heading, blank, matrix.el, matrix.zoomBar.el);
  toggle(el, false);

  return {
    el,
    reset: () => matrix.resetView(),
    recolour: (colours) => matrix.recolour(colours),
    refresh({ frame, selection, arrived }) {
      const now = dataOf<HeadData>(frame, name);
      address = selection;
      if (now && now !== data) {
        data = now;
        picture = now.open ? decodeHead(now) : null;
        toggle(el, true);
        toggle(blank, !now.open);
        for (const part of [matrix.el, matrix.zoomBar.el, axes]) toggle(part, now.open);
        setText(title, now.open ? `Head ${now.layer}.${now.head}` : "One head");
        if (picture)
          matrix.show(picture, `Head ${now.layer}.${now.head}: ${printable(now.kind)}`, spotOf(selection), arrived);
      } else matrix.select(spotOf(selection));
    },
    facts: (at) => (isOpen(at) ? factsOf(spotOf(at)) : null),
    get measured() {
      return data?.open ? data.scale.label : "";
    },
    files: () => [
      { label: "Open head", hint: "PNG", mime: "image/png", make: () => matrix.image() },
      { label: "Open head", hint: "CSV", mime: "text/csv", make: async () => (picture ? headCsv(picture) : null) },
    ],
  };
};

/** One row a pair of positions. */
export function headCsv({ n, values, tokens, causal }: Picture): string {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const out = ["pos,key_pos,token,key_token,value"];
  for (let q = 0; q < n; q++)
    for (let k = 0; k < (causal ? q + 1 : n); k++)
      out.push([q, k, quoted(tokens[q] ?? ""), quoted(tokens[k] ?? ""), values[q * n + k]].join(","));
  return out.join("\n");
}

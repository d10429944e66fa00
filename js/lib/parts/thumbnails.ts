// All heads as small pictures: a click, or Enter, opens one. One canvas for all, one tab stop, arrows move.
import "./heatmap.css";
import "./attention.css";
import { numberText } from "../canvas/number";
import { density } from "../canvas/picture";
import { type Palette, palette } from "../canvas/scale";
import { printable } from "../canvas/text";
import { watchSize } from "../canvas/visible";
import { h, setText, toggle } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { type Facts, spoken } from "../page/facts";
import { keyAction } from "../page/keyboard";
import { dataOf, type MakePart } from "../page/part";
import { Tooltip } from "../page/tooltip";
import type { Address, Buffer, Scale } from "../wire/model";
import { measure as timing } from "../wire/timing";
import { bytes, float32, uint32 } from "../wire/wire";
import { namedWidth, nearestHead, type ThumbLayout, thumbAt, thumbLayout, wantedWidth } from "./thumb_layout";
import { drawThumbAxes, drawThumbMarks, drawThumbs, placeOf, type Thumbs } from "./thumb_paint";

/** All heads as they travel; lists have one entry a head. */
export interface HeadsData {
  layers: number[];
  heads: number[];
  side: number;
  block: number;
  n: number;
  pictures: Buffer;
  scale: Scale;
  /** Which of `labels` stands under each head. */
  score: number;
  labels: string[];
  /** `[score, head]`. */
  numbers: Buffer;
  sort: boolean;
  order: Buffer;
  causal: boolean;
  note: string;
  ablated: [number, number][];
}

interface Decoded extends Thumbs {
  data: HeadsData;
  /** Of each score. */
  numbers: Float32Array[];
  order: Uint32Array | null;
}

export function decodeHeads(data: HeadsData): Decoded {
  const count = data.heads.length;
  const all = float32(data.numbers, data.labels.length * count, "numbers");
  const numbers = data.labels.map((_, i) => all.subarray(i * count, (i + 1) * count));
  const pictures = bytes(data.pictures);
  if (pictures.length !== count * data.side ** 2) throw new RangeError(`${count} pictures in ${pictures.length} bytes`);
  const off = new Set(data.ablated.map(([layer, head]) => `${layer}.${head}`));
  return {
    data,
    layers: data.layers,
    heads: data.heads,
    side: data.side,
    pictures,
    scale: data.scale,
    causal: data.causal,
    values: numbers[data.score] ?? new Float32Array(count),
    numbers,
    order: data.sort ? uint32(data.order, count, "order") : null,
    ablated: new Set(data.heads.flatMap((head, n) => (off.has(`${data.layers[n]}.${head}`) ? [n] : []))),
  };
}

export const thumbnails: MakePart = ({ select, signal }, name) => {
  const base = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  const over = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  const scratch = document.createElement("canvas");
  const grid = h("div", "rw-heads-grid", { role: "grid", tabindex: 0 });
  const current = h("div", "rw-hidden-text", { role: "gridcell" });
  const row = h("div", "rw-spacer", { role: "row" }, current);
  grid.append(row);
  const live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  const stage = h("div", "rw-stage", {}, base, over, grid);
  const scroll = h("div", "rw-heads-scroll", {}, stage);
  const heading = h("div", "rw-part-heading");
  const note = h("div", "rw-dim rw-part-note");
  const tip = new Tooltip();
  const el = h("div", "rw-heads", {}, heading, scroll, note, live, tip.el);
  toggle(el, false);

  let shown: Decoded | null = null;
  let at: ThumbLayout | null = null;
  let colours: Colours | null = null;
  let selected = -1;
  let hover = -1;
  let cursor = -1;
  let address: Address = {};
  let unseen = true;

  const indexOf = (to: Address): number =>
    shown ? shown.heads.findIndex((head, n) => head === to.head && shown!.layers[n] === to.layer) : -1;

  function facts(n: number): Facts | null {
    if (!shown || n < 0) return null;
    const { data, numbers } = shown;
    const told = (i: number) => numberText(numbers[i]![n]!, 3).replace("NaN", "no such row");
    return {
      at: { layer: shown.layers[n]!, head: shown.heads[n]! },
      lead: `layer ${shown.layers[n]}`,
      token: `head ${shown.heads[n]}`,
      where: "",
      label: data.labels[data.score] ?? "",
      value: told(data.score),
      also: data.labels.flatMap((label, i) => (i === data.score ? [] : [{ label, value: told(i) }])),
      notes: shown.ablated.has(n) ? ["ablated"] : [],
      top: [],
    };
  }

  const inks = (): Palette => palette("weights", colours?.dark ?? false);

  function mark(): void {
    const ctx = over.getContext("2d");
    if (!ctx || !at || !colours) return;
    const dpr = density();
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, at.width, at.height);
    const shownCursor = grid.matches(":focus-visible") ? cursor : -1;
    drawThumbMarks(ctx, at, colours, { selected, hover, cursor: shownCursor });
  }

  function redraw(): void {
    const ctx = base.getContext("2d");
    if (!shown || !ctx || !colours || el.clientWidth < 1) return;
    const dpr = density();
    const lowest = [...new Set(shown.layers)].sort((a, b) => a - b);
    const rows = shown.layers.map((layer) => lowest.indexOf(layer));
    const width = scroll.clientWidth || el.clientWidth;
    const named = namedWidth(shown.heads.map((head, n) => `${shown?.layers[n]}.${head}`));
    at = thumbLayout({ width, rows, heads: shown.heads, order: shown.order, side: shown.side, dpr, named });
    for (const canvas of [base, over]) {
      canvas.width = Math.round(at.width * dpr);
      canvas.height = Math.round(at.height * dpr);
      canvas.style.width = `${canvas.width / dpr}px`;
      canvas.style.height = `${canvas.height / dpr}px`;
    }
    stage.style.width = `${at.width}px`;
    stage.style.height = `${at.height}px`;
    Object.assign(row.style, {
      left: `${at.lane}px`,
      top: `${at.top}px`,
      width: `${at.cols * at.cell.w}px`,
      height: `${at.rows * at.cell.h}px`,
    });
    grid.setAttribute("aria-rowcount", String(at.rows));
    grid.setAttribute("aria-colcount", String(at.cols));
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.direction = "ltr";
    ctx.fillStyle = colours.bg;
    ctx.fillRect(0, 0, at.width, at.height);
    drawThumbs(ctx, shown, at, inks(), colours, scratch);
    drawThumbAxes(ctx, shown, at, colours);
    mark();
    if (unseen) reveal(selected);
    unseen = false;
  }

  function reveal(n: number): void {
    if (!at || n < 0) return;
    const { row, col } = at.at[n]!;
    const [top, left] = [at.top + row * at.cell.h, at.lane + col * at.cell.w];
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + at.cell.h > scroll.scrollTop + scroll.clientHeight)
      scroll.scrollTop = top + at.cell.h - scroll.clientHeight;
    if (left < scroll.scrollLeft) scroll.scrollLeft = left - at.lane;
    else if (left + at.cell.w > scroll.scrollLeft + scroll.clientWidth)
      scroll.scrollLeft = left + at.cell.w - scroll.clientWidth;
  }

  function tell(n: number, chosen: boolean): void {
    const f = facts(n);
    if (!f || !at) return;
    const text = spoken(f, chosen);
    setText(live, text);
    setText(current, text);
    row.setAttribute("aria-rowindex", String(at.at[n]!.row + 1));
    current.setAttribute("aria-colindex", String(at.at[n]!.col + 1));
    current.setAttribute("aria-selected", String(chosen));
  }

  function showTip(n: number): void {
    const f = facts(n);
    if (!f || !at) {
      tip.hide();
      return;
    }
    const { left, top } = base.getBoundingClientRect();
    const { x, y } = placeOf(at, n);
    tip.show(f, { x: left + x, y: top + y, w: at.thumb, h: at.thumb });
  }

  function open(n: number): void {
    if (!shown || n < 0) return;
    tell(n, true);
    cursor = n;
    const { layer: _, head: __, ...rest } = address;
    select({ ...rest, layer: shown.layers[n]!, head: shown.heads[n]! });
  }

  const under = (event: MouseEvent): number => {
    const { left, top } = base.getBoundingClientRect();
    return at ? thumbAt(at, event.clientX - left, event.clientY - top) : -1;
  };

  function point(n: number): void {
    if (n === hover) return;
    const start = performance.now();
    hover = n;
    mark();
    showTip(n);
    timing("rw:hover", start);
  }

  function key(event: KeyboardEvent): void {
    if (!at || !shown) return;
    const from = cursor >= 0 ? cursor : selected;
    const place = from >= 0 ? at.at[from]! : null;
    const action = keyAction(event, {
      rows: at.rows,
      cols: at.cols,
      page: at.cols,
      cursor: place && { row: at.rows - 1 - place.row, col: place.col },
    });
    if (!action || action.kind === "zoom") return;
    event.preventDefault();
    event.stopPropagation();
    if (action.kind === "select") open(from);
    else if (action.kind === "reset") {
      cursor = -1;
      tip.hide();
      mark();
      select({});
    } else {
      const found = nearestHead(at, at.rows - 1 - action.to.row, action.to.col);
      if (found < 0) return;
      cursor = found;
      reveal(found);
      mark();
      tell(found, found === selected);
      showTip(found);
    }
  }

  const on = { signal };
  grid.addEventListener("pointermove", (event) => event.pointerType !== "touch" && point(under(event)), on);
  grid.addEventListener("pointerleave", () => point(-1), on);
  grid.addEventListener("click", (event) => open(under(event)), on);
  grid.addEventListener("keydown", key, on);
  grid.addEventListener("focus", mark, on);
  grid.addEventListener(
    "blur",
    () => {
      tip.hide();
      mark();
    },
    on,
  );
  scroll.addEventListener("scroll", () => tip.hide(), { signal, passive: true });
  globalThis.addEventListener("scroll", () => tip.hide(), { signal, capture: true, passive: true });
  let width = 0;
  watchSize(
    el,
    (lost) => {
      if (!lost && width === el.clientWidth) return;
      width = el.clientWidth;
      redraw();
    },
    signal,
  );

  return {
    el,
    hint: "Click a head to see where it looks.",
    get empty() {
      return !shown;
    },
    reset() {
      cursor = -1;
      unseen = true;
      redraw();
    },
    recolour(now) {
      colours = now;
      redraw();
    },
    refresh({ frame, selection, arrived }) {
      const data = dataOf<HeadsData>(frame, name);
      address = selection;
      const fresh = data !== null && data !== shown?.data;
      if (fresh) {
        unseen ||= data.sort !== shown?.data.sort || (data.sort && data.score !== shown?.data.score);
        shown = decodeHeads(data);
        toggle(el, true);
        el.style.setProperty("--rw-want", `${wantedWidth(data.heads, data.sort)}px`);
        heading.replaceChildren(
          "All heads ",
          h("span", "rw-dim", {}, `${data.sort ? "in order of" : "layer by head,"} ${data.labels[data.score]}`),
        );
        setText(note, [noteOf(data), printable(data.note)].filter(Boolean).join(". "));
        grid.setAttribute("aria-label", `Heads by layer, ${data.labels[data.score]}`);
        cursor = -1;
      }
      const before = selected;
      selected = indexOf(selection);
      if (fresh) {
        redraw();
        timing("rw:draw", arrived);
      } else if (before !== selected) {
        reveal(selected);
        mark();
      }
    },
    facts: (to) => (to.pos === undefined && to.key_pos === undefined ? facts(indexOf(to)) : null),
    get measured() {
      return shown?.data.labels.join(" ") ?? "";
    },
    files: () => [
      {
        label: "All heads",
        hint: "CSV",
        mime: "text/csv",
        make: async () => (shown ? headsCsv(shown) : null),
      },
      {
        label: "All heads",
        hint: "PNG",
        mime: "image/png",
        make: () => new Promise((resolve) => base.toBlob(resolve, "image/png")),
      },
    ],
  };
};

function noteOf({ block, n }: HeadsData): string {
  return block > 1 ? `A pixel is the largest weight of ${block} x ${block} of ${n} positions` : "";
}

/** One row a head with all its numbers. */
function headsCsv({ data, numbers, layers, heads }: Decoded): string {
  const names = data.labels.map((label) => label.replaceAll(" ", "_"));
  const rows = heads.map((head, n) => [layers[n], head, ...numbers.map((of) => of[n])].join(","));
  return [`layer,head,${names.join(",")}`, ...rows].join("\n");
}

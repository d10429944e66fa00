// All heads as small pictures: a click, or Enter, opens one. One canvas for all, one tab stop, arrows move.
import "./heatmap.css";
import "./attention.css";
import { numberText } from "../canvas/number";
import { density } from "../canvas/picture";
import { inks } from "../canvas/scale";
import { penOf, pngOf, sized } from "../canvas/sized";
import { printable } from "../canvas/text";
import { h, setText, toggle } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { type Facts, spoken } from "../page/facts";
import { keyAction } from "../page/keyboard";
import { dataOf, type MakePart } from "../page/part";
import { Tooltip } from "../page/tooltip";
import type { Address } from "../wire/model";
import { measure as timing } from "../wire/timing";
import { type Decoded, decodeHeads, type HeadsData, headsCsv, noteOf } from "./heads_data";
import { listen, SpokenCell } from "./surface";
import { namedWidth, nearestHead, type ThumbLayout, thumbAt, thumbLayout, wantedWidth } from "./thumb_layout";
import { drawThumbAxes, drawThumbMarks, drawThumbs, placeOf } from "./thumb_paint";

export const thumbnails: MakePart = ({ select, signal }, name) => {
  const base = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  const over = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  const scratch = document.createElement("canvas");
  const grid = h("div", "rw-heads-grid", { role: "grid", tabindex: 0 });
  const cell = new SpokenCell();
  grid.append(cell.row);
  const stage = h("div", "rw-stage", {}, base, over, grid);
  const scroll = h("div", "rw-heads-scroll", {}, stage);
  const heading = h("div", "rw-part-heading");
  const note = h("div", "rw-dim rw-part-note");
  const tip = new Tooltip();
  const el = h("div", "rw-heads", {}, heading, scroll, note, cell.live, tip.el);
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

  function mark(): void {
    const ctx = penOf(over);
    if (!ctx || !at || !colours) return;
    ctx.clearRect(0, 0, at.width, at.height);
    const shownCursor = grid.matches(":focus-visible") ? cursor : -1;
    drawThumbMarks(ctx, at, colours, { selected, hover, cursor: shownCursor });
  }

  function redraw(): void {
    if (!shown || !colours || el.clientWidth < 1) return;
    const dpr = density();
    const lowest = [...new Set(shown.layers)].sort((a, b) => a - b);
    const rows = shown.layers.map((layer) => lowest.indexOf(layer));
    const width = scroll.clientWidth || el.clientWidth;
    const named = namedWidth(shown.heads.map((head, n) => `${shown?.layers[n]}.${head}`));
    at = thumbLayout({ width, rows, heads: shown.heads, order: shown.order, side: shown.side, dpr, named });
    sized([base, over], at.width, at.height);
    const ctx = penOf(base);
    if (!ctx) return;
    stage.style.width = `${at.width}px`;
    stage.style.height = `${at.height}px`;
    Object.assign(cell.row.style, {
      left: `${at.lane}px`,
      top: `${at.top}px`,
      width: `${at.cols * at.cell.w}px`,
      height: `${at.rows * at.cell.h}px`,
    });
    cell.size(grid, at.rows, at.cols);
    ctx.fillStyle = colours.bg;
    ctx.fillRect(0, 0, at.width, at.height);
    drawThumbs(ctx, shown, at, inks("sequential", colours.dark), colours, scratch);
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
    cell.say(spoken(f, chosen), at.at[n]!.row, at.at[n]!.col, chosen);
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

  let width = 0;
  const on = {
    over: (event: MouseEvent | null) => point(event ? under(event) : -1),
    click: (event: MouseEvent) => open(under(event)),
    key,
    focus: mark,
    scrolled: () => tip.hide(),
    hideTip: () => tip.hide(),
    resized(lost: boolean) {
      if (!lost && width === el.clientWidth) return;
      width = el.clientWidth;
      redraw();
    },
  };
  listen(el, grid, grid, on, signal);

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
    signs: () => (shown?.data.labels ?? []).map((label, i) => [label, shown?.data.says[i] ?? ""]),
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
        make: () => pngOf(base),
      },
    ],
  };
};

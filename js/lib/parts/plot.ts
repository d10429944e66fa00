// A picture that answers: pointer, keyboard, scrolling and zoom over the two canvases. Knows no model.

import {
  anchored,
  type Cell,
  cellRect,
  hit,
  type Marks,
  type Selected,
  scrollTo,
  visibleCols,
  type Zoom,
} from "../canvas/layout";
import { density, Picture } from "../canvas/picture";
import { watchSize } from "../canvas/visible";
import { ZoomBar, type ZoomStep } from "../canvas/zoom";
import { h, setText, toggle } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { facts, spoken } from "../page/facts";
import { type KeyPress, keyAction } from "../page/keyboard";
import { Tooltip } from "../page/tooltip";
import { measure as timing } from "../wire/timing";
import type { Grid } from "../wire/wire";

export interface PlotEvents {
  /** A cell was clicked, or Enter pressed on it; `wide` with Shift. */
  select(cell: Cell, wide: boolean): void;
  /** Cells were dragged over, where the picture can be edited. */
  region(cells: Cell[]): void;
  reset(): void;
}

const ZOOM_STEP = 1.4;
const SCROLLBAR = 12;
/** The cells of a rectangle, from two of its corners. */
function within(a: Cell, b: Cell): Cell[] {
  const out: Cell[] = [];
  for (let row = Math.min(a.row, b.row); row <= Math.max(a.row, b.row); row++)
    for (let col = Math.min(a.col, b.col); col <= Math.max(a.col, b.col); col++) out.push({ row, col });
  return out;
}

const same = (a: Cell | null, b: Cell | null): boolean => a?.row === b?.row && a?.col === b?.col;

export class Plot {
  readonly el: HTMLElement;
  readonly #picture = new Picture();
  readonly #stage = h("div", "rw-stage");
  readonly #scroller = h("div", "rw-scroll", { role: "grid", tabindex: 0 });
  // One row and one cell stand for the grid: those under the cursor.
  readonly #row = h("div", "rw-spacer", { role: "row" });
  readonly #current = h("div", "rw-hidden-text", { role: "gridcell" });
  readonly #live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  readonly #zoomBar = new ZoomBar((by) => this.#zoomBy(by));
  readonly #tip = new Tooltip();

  #grid: Grid | null = null;
  #selected: Selected = { row: null, col: null };
  #cursor: Cell | null = null;
  #hover: Cell | null = null;
  #edited: Marks["edited"] = [];
  #editable = false;
  #drag: { from: Cell; to: Cell; moved: boolean } | null = null;
  #zoom: Zoom = "auto";
  #arrived: number | null = null;
  /** A new picture, of which nothing was drawn yet. */
  #unseen = false;

  constructor(
    private readonly events: PlotEvents,
    signal: AbortSignal,
    /** What the first view is, and that after a reset. */
    private readonly home: Zoom = "auto",
  ) {
    this.#zoom = home;
    this.#row.append(this.#current);
    this.#scroller.append(this.#row);
    this.#stage.append(this.#picture.base, this.#picture.over, this.#scroller);
    this.el = h("div", "rw-plot", {}, this.#stage, this.#zoomBar.el, this.#live, this.#tip.el);
    this.#listen(signal);
  }

  /** Show a grid. `arrived` (performance.now() of the news) starts the "rw:draw" measure. */
  show(grid: Grid, selected: Selected, arrived: number): void {
    const before = this.#grid;
    const changed = before?.rows !== grid.rows || before.cols !== grid.cols;
    this.#grid = grid;
    this.#selected = selected;
    this.#arrived = arrived;
    this.#tip.hide();
    if (changed) {
      this.#cursor = this.#hover = null;
      this.#zoom = this.home;
      this.#scroller.scrollLeft = 0;
      this.#unseen = true;
    }
    this.redraw();
    this.#arrived = null; // what could not be drawn at once is not a slow drawing
  }

  select(selected: Selected): void {
    if (selected.row === this.#selected.row && selected.col === this.#selected.col) return;
    this.#selected = selected;
    const { row, col } = selected; // from which the next key starts, whoever made it
    this.#cursor = row === null || col === null ? null : { row, col };
    this.#reveal(col);
    this.#paint();
  }

  /** Outline the cells that are changed; `editable` where clicks change them. */
  edit(edited: Marks["edited"], editable: boolean): void {
    this.#editable = editable;
    this.#edited = edited;
    this.#scroller.classList.toggle("rw-editable", this.#editable);
    this.#outline();
  }

  recolour(colours: Colours): void {
    this.#picture.recolour(colours);
    this.redraw();
  }

  /** Back to the first view: from the left, no cursor. */
  resetView(): void {
    this.#zoom = this.home;
    this.#cursor = null;
    this.#scroller.scrollLeft = 0;
    this.redraw();
  }

  image(): Promise<Blob | null> {
    return this.#picture.image();
  }

  /** Lay out and draw everything; nothing happens while the element has no size. */
  redraw(): void {
    const grid = this.#grid;
    const at = grid && this.#picture.layOut(grid, this.el.clientWidth, this.#zoom);
    if (!at) return;
    const scrolls = at.content > at.view.w + 0.5;
    this.#stage.style.height = `${at.height + (scrolls ? SCROLLBAR : 0)}px`;
    const { style } = this.#scroller;
    style.left = `${at.view.x}px`;
    style.width = `${at.view.w}px`;
    style.overflowX = scrolls ? "scroll" : "hidden";
    // The row lies over the cells, where whoever asks the page for the grid's place finds it.
    Object.assign(this.#row.style, {
      width: `${at.content}px`,
      height: `${at.view.h}px`,
      marginTop: `${at.view.y}px`,
    });
    this.#scroller.setAttribute("aria-rowcount", String(grid.rows));
    this.#scroller.setAttribute("aria-colcount", String(grid.cols));
    this.#scroller.setAttribute(
      "aria-label",
      `${grid.frame.title}: ${grid.frame.row_name} by ${grid.frame.column_name ?? "token"}`,
    );
    toggle(this.#zoomBar.el, scrolls || this.#zoom !== "auto" || grid.text !== null);
    if (this.#unseen) this.#reveal(this.#selected.col); // not before there is a size to scroll in
    this.#unseen = false;
    this.#paint();
    if (this.#arrived !== null) timing("rw:draw", this.#arrived);
  }

  #paint(): void {
    const grid = this.#grid;
    const { at } = this.#picture;
    if (!grid || !at) return;
    const scroll = this.#scroll;
    this.#picture.draw(grid, scroll, this.#selected);
    this.#outline();
    const { first, last } = visibleCols(at, scroll);
    const all = at.content <= at.view.w + 0.5;
    const each = Math.ceil(1 / (at.cell.w * density()));
    const columns = `${grid.frame.column_name ?? "position"}s`;
    this.#zoomBar.say(
      (all ? `all ${grid.cols} ${columns}` : `${columns} ${first}\u2013${last} of ${grid.cols}`) +
        (this.#picture.binned ? `; a pixel shows the largest of up to ${each}` : ""),
      this.#zoom,
    );
  }

  #outline(): void {
    const cursor = this.#scroller.matches(":focus-visible") ? this.#cursor : null;
    const region = this.#drag?.moved ? ([this.#drag.from, this.#drag.to] as const) : null;
    this.#picture.outline(this.#scroll, this.#selected, { hover: this.#hover, cursor, edited: this.#edited, region });
  }

  // Scrolling and zoom

  /** Offset of the window in whole device pixels. */
  get #scroll(): number {
    const { at } = this.#picture;
    const most = at ? Math.max(0, at.content - at.view.w) : 0;
    return Math.min(Math.round(this.#scroller.scrollLeft * density()) / density(), most);
  }

  #reveal(col: number | null): void {
    const { at } = this.#picture;
    if (!at || col === null) return;
    const wanted = scrollTo(at, col, this.#scroll);
    if (Math.abs(wanted - this.#scroll) > 0.5) this.#scroller.scrollLeft = wanted;
  }

  #zoomBy(by: ZoomStep): void {
    const { at } = this.#picture;
    if (!at) return;
    const to = by === "in" ? at.cell.w * ZOOM_STEP : by === "out" ? at.cell.w / ZOOM_STEP : by;
    this.#zoomTo(to, at.view.w / 2);
  }

  /** Zoom around a point of the window. */
  #zoomTo(zoom: Zoom, anchor: number): void {
    const before = this.#picture.at;
    const scroll = this.#scroll;
    this.#zoom = zoom;
    this.#tip.hide();
    this.#hover = null;
    this.redraw();
    const after = this.#picture.at;
    if (!before || !after) return;
    this.#scroller.scrollLeft = anchored(before, after, scroll, anchor);
    this.#paint();
  }

  // Pointer and keyboard

  #listen(signal: AbortSignal): void {
    const scroller = this.#scroller;
    scroller.addEventListener("pointerdown", (event) => this.#dragFrom(event), { signal });
    scroller.addEventListener("pointermove", (event) => this.#hoverAt(event), { signal });
    scroller.addEventListener("pointercancel", () => this.#dragNone(), { signal });
    scroller.addEventListener("pointerleave", () => this.#hoverNone(), { signal });
    scroller.addEventListener("click", (event) => this.#click(event), { signal });
    scroller.addEventListener("keydown", (event) => this.#key(event), { signal });
    scroller.addEventListener("focus", () => this.#outline(), { signal });
    scroller.addEventListener("blur", () => this.#hoverNone(), { signal });
    scroller.addEventListener("wheel", (event) => this.#wheel(event), { signal, passive: false });
    let frame = 0;
    const scrolled = () => {
      frame = 0;
      this.#hoverNone();
      this.#paint();
    };
    scroller.addEventListener("scroll", () => (frame ||= requestAnimationFrame(scrolled)), { signal });
    globalThis.addEventListener("scroll", () => this.#tip.hide(), { signal, capture: true, passive: true });
    signal.addEventListener("abort", () => {
      cancelAnimationFrame(frame);
      this.#tip.hide();
    });
    watchSize(
      this.el,
      (lost) => {
        if (lost || this.#picture.at?.width !== this.el.clientWidth) this.redraw();
      },
      signal,
    );
  }

  #cellAt(event: MouseEvent): Cell | null {
    const { at, base } = this.#picture;
    if (!at) return null;
    const { left, top } = base.getBoundingClientRect();
    return hit(at, event.clientX - left, event.clientY - top, this.#scroll);
  }

  #hoverAt(event: PointerEvent): void {
    if (event.pointerType === "touch") return;
    const start = performance.now();
    this.#dragTo(event);
    const cell = this.#cellAt(event);
    if (same(cell, this.#hover)) return;
    this.#hover = cell;
    this.#outline();
    if (cell) this.#tipAt(cell);
    else this.#tip.hide();
    timing("rw:hover", start);
  }

  // A press may become a drag over a region; the click that ends it is the region's.

  #dragFrom(event: PointerEvent): void {
    const cell = this.#cellAt(event);
    if (!this.#editable || !cell || event.button !== 0 || event.pointerType === "touch") return;
    this.#drag = { from: cell, to: cell, moved: false };
    this.#scroller.setPointerCapture(event.pointerId);
  }

  #dragTo(event: PointerEvent): void {
    const drag = this.#drag;
    if (!drag) return;
    if (!(event.buttons & 1)) this.#dragNone();
    const cell = this.#cellAt(event);
    if (!cell || same(cell, drag.to)) return;
    drag.to = cell;
    drag.moved ||= !same(cell, drag.from);
    this.#outline();
  }

  #dragNone(): void {
    this.#drag = null;
    this.#outline();
  }

  #hoverNone(): void {
    this.#tip.hide();
    this.#hover = null;
    this.#outline();
  }

  #tipAt(cell: Cell): void {
    const { at, base } = this.#picture;
    if (!this.#grid || !at) return;
    const { left, top } = base.getBoundingClientRect();
    const rect = cellRect(at, cell, this.#scroll);
    this.#tip.show(facts(this.#grid, cell), { ...rect, x: rect.x + left, y: rect.y + top });
  }

  #click(event: MouseEvent): void {
    const cell = this.#cellAt(event);
    const drag = this.#drag;
    this.#dragNone();
    if (drag?.moved) {
      this.events.region(within(drag.from, drag.to));
      return;
    }
    if (!cell) return;
    this.#cursor = cell;
    this.#choose(cell, event.shiftKey);
  }

  #choose(cell: Cell, wide: boolean): void {
    this.#announce(cell, true);
    this.events.select(cell, wide);
  }

  #key(event: KeyPress & Event): void {
    const grid = this.#grid;
    const { at } = this.#picture;
    if (!grid || !at) return;
    const { row, col } = this.#selected;
    const cursor = this.#cursor ?? (row !== null && col !== null ? { row, col } : null);
    const page = Math.floor(at.view.w / at.cell.w);
    const action = keyAction(event, { rows: grid.rows, cols: grid.cols, page, cursor });
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    if (action.kind === "zoom") this.#zoomBy(action.by);
    else if (action.kind === "move") this.#moveTo(action.to);
    else if (action.kind === "reset") {
      this.#cursor = null;
      this.#hoverNone();
      this.events.reset();
    } else if (cursor) this.#choose(cursor, event.shiftKey ?? false);
  }

  #moveTo(cell: Cell): void {
    this.#cursor = cell;
    this.#hover = null;
    this.#reveal(cell.col);
    this.#outline();
    this.#announce(cell, false);
    this.#tipAt(cell);
  }

  #announce(cell: Cell, selected: boolean): void {
    if (!this.#grid) return;
    const text = spoken(facts(this.#grid, cell), selected);
    setText(this.#live, text);
    setText(this.#current, text);
    this.#row.setAttribute("aria-rowindex", String(this.#grid.rows - cell.row));
    this.#current.setAttribute("aria-colindex", String(cell.col + 1));
    this.#current.setAttribute("aria-selected", String(selected));
  }

  #wheel(event: WheelEvent): void {
    const { at } = this.#picture;
    if (!event.ctrlKey || !at) return;
    event.preventDefault();
    const { left } = this.#scroller.getBoundingClientRect();
    this.#zoomTo(at.cell.w * ZOOM_STEP ** (-event.deltaY / 100), event.clientX - left);
  }
}

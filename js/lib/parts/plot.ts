// A picture that answers: pointer, keyboard, scrolling and zoom over the two canvases. Knows no model.

import { anchored, type Cell, cellRect, hit, type Marks, scrollTo, visibleCols, type Zoom } from "../canvas/layout";
import { density, Picture } from "../canvas/picture";
import { screenRoom, watchSize } from "../canvas/visible";
import { ZoomBar, type ZoomStep } from "../canvas/zoom";
import { h, toggle } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { type KeyPress, keyAction } from "../page/keyboard";
import { Tooltip } from "../page/tooltip";
import type { Chosen, Grid } from "../wire/grid";
import { measure as timing } from "../wire/timing";
import { facts } from "./cell_facts";
import { Pointer } from "./pointer";
import { SpokenGrid } from "./spoken_grid";

export interface PlotEvents {
  /** A cell was clicked, or Enter pressed on it; `wide` with Shift. */
  select(cell: Cell, wide: boolean): void;
  /** Cells were dragged over, where the picture can be edited. */
  region(cells: Cell[]): void;
  reset(): void;
}

/** The column that is in view at first: of positions the last, where the answer is read. */
const firstSeen = ({ data, cols }: Grid): number => (data.column_name === undefined ? cols - 1 : 0);

const ZOOM_STEP = 1.4;
const SCROLLBAR = 12;
export class Plot {
  readonly el: HTMLElement;
  readonly #picture = new Picture();
  readonly #stage = h("div", "rw-stage");
  readonly #scroller = h("div", "rw-scroll", { role: "grid", tabindex: 0 });
  readonly #spoken = new SpokenGrid(this.#scroller);
  readonly #zoomBar = new ZoomBar((by) => this.#zoomBy(by));
  readonly #tip = new Tooltip();
  #grid: Grid | null = null;
  #title = "";
  #selected: Chosen = { row: null, col: null };
  #cursor: Cell | null = null;
  #edited: Marks["edited"] = [];
  #editable = false;
  readonly #pointer: Pointer;
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
    this.#stage.append(this.#picture.base, this.#picture.over, this.#scroller);
    this.el = h("div", "rw-plot", {}, this.#stage, this.#zoomBar.el, this.#spoken.live, this.#tip.el);
    this.#pointer = new Pointer(
      this.#scroller,
      {
        cellAt: (event) => this.#cellAt(event),
        editable: () => this.#editable,
        point: (cell) => (cell ? this.#tipAt(cell) : this.#tip.hide()),
        click: (cell, wide) => {
          this.#cursor = cell;
          this.#choose(cell, wide);
        },
        region: (cells) => this.events.region(cells),
        changed: () => this.#outline(),
      },
      signal,
    );
    this.#listen(signal);
  }

  /** Show a grid. `arrived` (performance.now() of the news) starts the "rw:draw" measure. */
  show(grid: Grid, title: string, selected: Chosen, arrived: number): void {
    this.#title = title;
    const before = this.#grid;
    const changed = before?.rows !== grid.rows || before.cols !== grid.cols;
    this.#grid = grid;
    this.#selected = selected;
    this.#arrived = arrived;
    this.#tip.hide();
    if (changed) {
      this.#cursor = this.#pointer.hover = null;
      this.#zoom = this.home;
      this.#unseen = true;
    }
    this.redraw();
    this.#arrived = null; // what could not be drawn at once is not a slow drawing
  }

  select(selected: Chosen): void {
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

  /** Back to the first view, no cursor. */
  resetView(): void {
    this.#zoom = this.home;
    this.#cursor = null;
    this.#unseen = true;
    this.redraw();
  }

  image(): Promise<Blob | null> {
    return this.#picture.image();
  }

  /** The picture as text, all of its columns. */
  svg(): string | null {
    return this.#grid && this.#picture.svg(this.#grid, this.#selected);
  }

  /** Lay out and draw everything; nothing happens while the element has no size. */
  redraw(): void {
    const grid = this.#grid;
    const at = grid && this.#picture.layOut(grid, this.el.clientWidth, this.#zoom, screenRoom(this.el));
    if (!at) return;
    const scrolls = at.content > at.view.w + 0.5;
    this.#stage.style.height = `${at.height + (scrolls ? SCROLLBAR : 0)}px`;
    const { style } = this.#scroller;
    style.left = `${at.view.x}px`;
    style.width = `${at.view.w}px`;
    style.overflowX = scrolls ? "scroll" : "hidden";
    this.#spoken.place(grid, this.#title, at);
    toggle(this.#zoomBar.el, scrolls || this.#zoom !== "auto" || grid.text !== null);
    if (this.#unseen) this.#reveal(this.#selected.col ?? firstSeen(grid)); // not before there is a size to scroll in
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
    const columns = `${grid.data.column_name ?? "position"}s`;
    this.#zoomBar.say(
      (all ? `all ${grid.cols} ${columns}` : `${columns} ${first}\u2013${last} of ${grid.cols}`) +
        (this.#picture.binned ? `; a pixel shows the largest of up to ${each}` : ""),
      this.#zoom,
    );
  }

  #outline(): void {
    const cursor = this.#scroller.matches(":focus-visible") ? this.#cursor : null;
    const { hover, region } = this.#pointer;
    this.#picture.outline(this.#scroll, this.#selected, { hover, cursor, edited: this.#edited, region });
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
    this.#pointer.hover = null;
    this.redraw();
    const after = this.#picture.at;
    if (!before || !after) return;
    this.#scroller.scrollLeft = anchored(before, after, scroll, anchor);
    this.#paint();
  }

  // Pointer, keyboard and wheel

  #listen(signal: AbortSignal): void {
    const scroller = this.#scroller;
    scroller.addEventListener("keydown", (event) => this.#key(event), { signal });
    scroller.addEventListener("focus", () => this.#outline(), { signal });
    scroller.addEventListener("blur", () => this.#pointer.leave(), { signal });
    scroller.addEventListener("wheel", (event) => this.#wheel(event), { signal, passive: false });
    let frame = 0;
    const scrolled = () => {
      frame = 0;
      this.#pointer.leave();
      this.#paint();
    };
    scroller.addEventListener("scroll", () => (frame ||= requestAnimationFrame(scrolled)), { signal });
    globalThis.addEventListener("scroll", () => this.#tip.hide(), { signal, capture: true, passive: true });
    signal.addEventListener("abort", () => {
      cancelAnimationFrame(frame);
      this.#tip.hide();
    });
    const resized = (lost: boolean) => {
      if (lost || this.#picture.at?.width !== this.el.clientWidth) this.redraw();
    };
    watchSize(this.el, resized, signal);
  }

  #cellAt(event: MouseEvent): Cell | null {
    const { at, base } = this.#picture;
    if (!at) return null;
    const { left, top } = base.getBoundingClientRect();
    return hit(at, event.clientX - left, event.clientY - top, this.#scroll);
  }

  #tipAt(cell: Cell): void {
    const { at, base } = this.#picture;
    if (!this.#grid || !at) return;
    const { left, top } = base.getBoundingClientRect();
    const rect = cellRect(at, cell, this.#scroll);
    this.#tip.show(facts(this.#grid, cell), { ...rect, x: rect.x + left, y: rect.y + top });
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
      this.#pointer.leave();
      this.events.reset();
    } else if (cursor) this.#choose(cursor, event.shiftKey ?? false);
  }

  #moveTo(cell: Cell): void {
    this.#cursor = cell;
    this.#pointer.hover = null;
    this.#reveal(cell.col);
    this.#outline();
    this.#announce(cell, false);
    this.#tipAt(cell);
  }

  #announce(cell: Cell, selected: boolean): void {
    if (this.#grid) this.#spoken.say(this.#grid, cell, selected);
  }

  #wheel(event: WheelEvent): void {
    const { at } = this.#picture;
    if (!event.ctrlKey || !at) return;
    event.preventDefault();
    const { left } = this.#scroller.getBoundingClientRect();
    this.#zoomTo(at.cell.w * ZOOM_STEP ** (-event.deltaY / 100), event.clientX - left);
  }
}

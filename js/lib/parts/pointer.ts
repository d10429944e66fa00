// The mouse over a heat map's cells: pointing, clicking, and dragging over a region.
import type { Cell } from "../canvas/layout";
import { measure as timing } from "../wire/timing";

/** What the pointer is over. */
interface Target {
  cellAt(event: MouseEvent): Cell | null;
  /** Whether a press may become a drag over a region. */
  editable(): boolean;
  /** Another cell, or none, is pointed at. */
  point(cell: Cell | null): void;
  click(cell: Cell, wide: boolean): void;
  region(cells: Cell[]): void;
  /** What is outlined has changed. */
  changed(): void;
}

const same = (a: Cell | null, b: Cell | null): boolean => a?.row === b?.row && a?.col === b?.col;

/** The cells of a rectangle, from two of its corners. */
function within(a: Cell, b: Cell): Cell[] {
  const out: Cell[] = [];
  for (let row = Math.min(a.row, b.row); row <= Math.max(a.row, b.row); row++)
    for (let col = Math.min(a.col, b.col); col <= Math.max(a.col, b.col); col++) out.push({ row, col });
  return out;
}

export class Pointer {
  hover: Cell | null = null;
  #drag: { from: Cell; to: Cell; moved: boolean } | null = null;

  constructor(
    private readonly el: HTMLElement,
    private readonly target: Target,
    signal: AbortSignal,
  ) {
    el.addEventListener("pointerdown", (event) => this.#dragFrom(event), { signal });
    el.addEventListener("pointermove", (event) => this.#move(event), { signal });
    el.addEventListener("pointercancel", () => this.#dragNone(), { signal });
    el.addEventListener("pointerleave", () => this.leave(), { signal });
    el.addEventListener("click", (event) => this.#click(event), { signal });
  }

  /** Corners of what is being dragged over. */
  get region(): readonly [Cell, Cell] | null {
    return this.#drag?.moved ? [this.#drag.from, this.#drag.to] : null;
  }

  leave(): void {
    this.hover = null;
    this.target.point(null);
    this.target.changed();
  }

  #move(event: PointerEvent): void {
    if (event.pointerType === "touch") return;
    const start = performance.now();
    this.#dragTo(event);
    const cell = this.target.cellAt(event);
    if (same(cell, this.hover)) return;
    this.hover = cell;
    this.target.changed();
    this.target.point(cell);
    timing("rw:hover", start);
  }

  // A press may become a drag over a region; the click that ends it is the region's.

  #dragFrom(event: PointerEvent): void {
    const cell = this.target.cellAt(event);
    if (!this.target.editable() || !cell || event.button !== 0 || event.pointerType === "touch") return;
    this.#drag = { from: cell, to: cell, moved: false };
    this.el.setPointerCapture(event.pointerId);
  }

  #dragTo(event: PointerEvent): void {
    const drag = this.#drag;
    if (!drag) return;
    if (!(event.buttons & 1)) this.#dragNone();
    const cell = this.target.cellAt(event);
    if (!cell || same(cell, drag.to)) return;
    drag.to = cell;
    drag.moved ||= !same(cell, drag.from);
    this.target.changed();
  }

  #dragNone(): void {
    this.#drag = null;
    this.target.changed();
  }

  #click(event: MouseEvent): void {
    const cell = this.target.cellAt(event);
    const drag = this.#drag;
    this.#dragNone();
    if (drag?.moved) this.target.region(within(drag.from, drag.to));
    else if (cell) this.target.click(cell, event.shiftKey);
  }
}

// What the attention pictures have in common: who listens to pointer, keys and size, and the one cell that is spoken.
import type { Rect } from "../canvas/layout";
import { watchSize } from "../canvas/visible";
import { h, setText } from "../dom/dom";

/** What a picture does about what happens to it. */
export interface Surface {
  /** The pointer is somewhere over it; null: it has left. */
  over(event: MouseEvent | null): void;
  click(event: MouseEvent): void;
  key(event: KeyboardEvent): void;
  /** Focus came or went, or what is drawn over the picture has changed otherwise. */
  focus(): void;
  scrolled(): void;
  /** Something moved below the tooltip. */
  hideTip(): void;
  /** Another width, or its pixels may be lost. */
  resized(lost: boolean): void;
}

/** Listen to a picture: `area` has the pointer, `scroller` the keys. */
export function listen(
  el: HTMLElement,
  area: HTMLElement,
  scroller: HTMLElement,
  on: Surface,
  signal: AbortSignal,
): void {
  const once = { signal };
  area.addEventListener("pointermove", (event) => event.pointerType !== "touch" && on.over(event), once);
  area.addEventListener("pointerleave", () => on.over(null), once);
  area.addEventListener("click", (event) => on.click(event), once);
  scroller.addEventListener("keydown", (event) => on.key(event), once);
  scroller.addEventListener("focus", () => on.focus(), once);
  scroller.addEventListener(
    "blur",
    () => {
      on.over(null);
      on.focus();
    },
    once,
  );
  let frame = 0;
  const scrolled = () => {
    frame = 0;
    on.scrolled();
  };
  scroller.addEventListener("scroll", () => (frame ||= requestAnimationFrame(scrolled)), once);
  globalThis.addEventListener("scroll", () => on.hideTip(), { signal, capture: true, passive: true });
  signal.addEventListener("abort", () => {
    cancelAnimationFrame(frame);
    on.hideTip();
  });
  watchSize(el, (lost) => on.resized(lost), signal);
}

/** A grid as assistive technology meets it: one row and one cell stand for all. */
export class SpokenCell {
  readonly live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  readonly #cell = h("div", "rw-hidden-text", { role: "gridcell" });
  /** Lies over the cells, where whoever asks the page for the grid's place finds it. */
  readonly row = h("div", "rw-spacer", { role: "row" }, this.#cell);

  /** @param grid the element with the role; it is told how many rows and columns there are */
  size(grid: HTMLElement, rows: number, cols: number): void {
    grid.setAttribute("aria-rowcount", String(rows));
    grid.setAttribute("aria-colcount", String(cols));
  }

  /** Rows and columns count from 0. */
  say(text: string, row: number, col: number, selected: boolean): void {
    setText(this.live, text);
    setText(this.#cell, text);
    this.row.setAttribute("aria-rowindex", String(row + 1));
    this.#cell.setAttribute("aria-colindex", String(col + 1));
    this.#cell.setAttribute("aria-selected", String(selected));
  }
}

/** Put a window over a picture that may be larger than it, in both directions. */
export function placeWindow(scroller: HTMLElement, row: HTMLElement, view: Rect, content: number): void {
  const px = (value: number) => `${value}px`;
  const overflow = content > view.w + 0.5 ? "scroll" : "hidden";
  const place = { left: px(view.x), top: px(view.y), width: px(view.w), height: px(view.h), bottom: "auto", overflow };
  Object.assign(scroller.style, place);
  Object.assign(row.style, { width: px(content), height: px(content) });
}

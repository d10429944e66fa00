// A histogram with a brush: drag, or arrows and Shift, to choose a range of bins.

import { tickText } from "../canvas/number";
import { h } from "../dom/dom";

/** Bins from `first` to `last`, both included, with the activations they hold and how many positions are in them. */
export interface Range {
  low: number;
  high: number;
  count: number;
}

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));

export class Histogram {
  readonly el: HTMLElement;
  readonly #lane = h("div", "rw-hist", {
    tabindex: 0,
    role: "slider",
    "aria-valuemin": 0,
    "aria-label": "Range of activations",
  });
  readonly #axis = h("div", "rw-hist-axis rw-dim rw-number", { "aria-hidden": "true" });
  #counts: readonly number[] = [];
  #edges: readonly number[] = [];
  #from: number | null = null;
  #to = 0;
  #dragging = false;

  constructor(
    private readonly changed: (range: Range | null) => void,
    signal: AbortSignal,
  ) {
    const head = h(
      "div",
      "rw-heading",
      {},
      "Histogram ",
      h("span", "rw-dim", {}, "positions by activation, log scale; drag for a range"),
    );
    this.el = h("div", "rw-hist-box", {}, head, this.#lane, this.#axis);
    const on = { signal };
    this.#lane.addEventListener("pointerdown", (event) => this.#press(event), on);
    this.#lane.addEventListener("pointermove", (event) => this.#move(event), on);
    for (const end of ["pointerup", "pointercancel"] as const)
      this.#lane.addEventListener(end, () => (this.#dragging = false), on);
    this.#lane.addEventListener("keydown", (event) => this.#key(event), on);
  }

  show({ counts, edges }: { counts: readonly number[]; edges: readonly number[] }): void {
    this.#counts = counts;
    this.#edges = edges;
    this.#from = null;
    const most = Math.log1p(Math.max(...counts, 1));
    this.#lane.replaceChildren(
      ...counts.map((count, i) => {
        const bar = h("span", "rw-hist-bar", { title: `${this.#words(i, i)}: ${positions(count)}` });
        bar.style.setProperty("--rw-share", String(Math.log1p(count) / most));
        return bar;
      }),
    );
    this.#axis.replaceChildren(...this.#ticks());
    this.#paint();
  }

  clear(): void {
    if (this.#from === null) return;
    this.#from = null;
    this.#tell();
  }

  /** Both ends, and zero where it is not too near to one of them. */
  #ticks(): HTMLElement[] {
    const [low, high] = [this.#edges[0] ?? 0, this.#edges.at(-1) ?? 1];
    const at = (value: number) => (value - low) / (high - low || 1);
    const places = [low, high];
    if (at(0) > 0.12 && at(0) < 0.88) places.push(0);
    return places.map((value) => {
      const tick = h("span", "", {}, tickText(value));
      tick.style.setProperty("--rw-at", String(at(value)));
      return tick;
    });
  }

  #words = (from: number, to: number): string =>
    `${tickText(this.#edges[from] ?? 0)} to ${tickText(this.#edges[to + 1] ?? 0)}`;

  get #range(): [number, number] | null {
    return this.#from === null ? null : [Math.min(this.#from, this.#to), Math.max(this.#from, this.#to)];
  }

  #tell(): void {
    this.#paint();
    const range = this.#range;
    if (!range) {
      this.changed(null);
      return;
    }
    const [first, last] = range;
    const count = this.#counts.slice(first, last + 1).reduce((sum, n) => sum + n, 0);
    this.changed({ low: this.#edges[first]!, high: this.#edges[last + 1]!, count });
  }

  #paint(): void {
    const range = this.#range;
    [...this.#lane.children].forEach((bar, i) => {
      bar.classList.toggle("rw-out", range !== null && (i < range[0] || i > range[1]));
    });
    const value = { max: this.#counts.length - 1, now: range?.[0] ?? 0, text: range ? this.#words(...range) : "all" };
    for (const [name, is] of Object.entries(value)) this.#lane.setAttribute(`aria-value${name}`, String(is));
  }

  #binAt(event: PointerEvent): number {
    const { left, width } = this.#lane.getBoundingClientRect();
    return clamp(Math.floor(((event.clientX - left) / (width || 1)) * this.#counts.length), 0, this.#counts.length - 1);
  }

  #press(event: PointerEvent): void {
    if (event.button !== 0 || !this.#counts.length) return;
    this.#dragging = true;
    this.#lane.setPointerCapture(event.pointerId);
    this.#from = this.#to = this.#binAt(event);
    this.#tell();
  }

  #move(event: PointerEvent): void {
    if (!this.#dragging) return;
    if (!(event.buttons & 1)) {
      this.#dragging = false;
      return;
    }
    const bin = this.#binAt(event);
    if (bin === this.#to) return;
    this.#to = bin;
    this.#tell();
  }

  #key(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey || event.ctrlKey) return;
    const last = this.#counts.length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape" && this.#from !== null) this.clear();
    else if (step === undefined) return;
    else {
      if (this.#from === null) this.#from = this.#to = step > 0 ? 0 : last;
      else this.#to = clamp(this.#to + step, 0, last);
      if (!event.shiftKey) this.#from = this.#to;
      this.#tell();
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

export const positions = (count: number): string =>
  `${count.toLocaleString("en-US")} position${count === 1 ? "" : "s"}`;

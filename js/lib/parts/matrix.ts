// One head at full size as a picture that answers: pointer, keyboard, zoom. Knows no model.
import { barWidth } from "../canvas/axes";
import type { Zoom } from "../canvas/layout";
import { numberText } from "../canvas/number";
import { FONT } from "../canvas/paint";
import { density } from "../canvas/picture";
import { type Palette, palette, scaleLabel } from "../canvas/scale";
import { type Measure, monospaceMeasure, printable } from "../canvas/text";
import { screenRoom, watchSize } from "../canvas/visible";
import { ZoomBar, type ZoomStep } from "../canvas/zoom";
import { h, setText, toggle } from "../dom/dom";
import type { Colours } from "../dom/theme";
import type { Facts } from "../page/facts";
import { spoken } from "../page/facts";
import { keyAction } from "../page/keyboard";
import { Tooltip } from "../page/tooltip";
import type { Grid } from "../wire/grid";
import { measure as timing } from "../wire/timing";
import {
  inWindow,
  MATRIX,
  type MatrixLayout,
  matrixLayout,
  type Scroll,
  type Spot,
  shownAt,
  spotAt,
  spotRect,
} from "./matrix_layout";
import { drawSpots, MatrixPainter, type MatrixScene, type Picture, TOKEN_CAP, WRITTEN } from "./matrix_paint";

const STEP = 1.5;
/** Cells are at most this high altogether, where there is no whole screen. */
const TALL = 440;

export interface MatrixEvents {
  select(spot: Spot): void;
  reset(): void;
  facts(spot: Spot): Facts | null;
}

const same = (a: Spot | null, b: Spot | null): boolean => a?.q === b?.q && a?.k === b?.k;

export class Matrix {
  readonly el: HTMLElement;
  readonly zoomBar = new ZoomBar((by) => this.#zoomBy(by));
  readonly #base = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #over = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #current = h("div", "rw-hidden-text", { role: "gridcell" });
  readonly #row = h("div", "rw-spacer", { role: "row" }, this.#current);
  readonly #scroller = h("div", "rw-scroll rw-matrix-scroll", { role: "grid", tabindex: 0 }, this.#row);
  readonly #stage = h("div", "rw-stage", {}, this.#base, this.#over, this.#scroller);
  readonly #live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  readonly #tip = new Tooltip();
  readonly #painter = new MatrixPainter();
  #colours: Colours | null = null;
  #measure: Measure | null = null;
  #picture: Picture | null = null;
  #at: MatrixLayout | null = null;
  #zoom: Zoom = "auto";
  #hover: Spot | null = null;
  #cursor: Spot | null = null;
  #selected: Spot = { q: null, k: null };

  constructor(
    private readonly events: MatrixEvents,
    signal: AbortSignal,
  ) {
    this.el = h("div", "rw-matrix", {}, this.#stage, this.#live, this.#tip.el);
    this.#listen(signal);
  }

  show(picture: Picture, label: string, selected: Spot, arrived: number): void {
    if (picture.n !== this.#picture?.n) {
      this.#zoom = "auto";
      this.#cursor = null;
    }
    this.#picture = picture;
    this.#selected = selected;
    this.#tip.hide();
    this.#scroller.setAttribute("aria-label", label);
    this.#scroller.setAttribute("aria-rowcount", String(picture.n));
    this.#scroller.setAttribute("aria-colcount", String(picture.n));
    this.redraw();
    timing("rw:draw", arrived);
  }

  select(selected: Spot): void {
    if (same(selected, this.#selected)) return;
    this.#selected = selected;
    if (selected.q !== null && selected.k !== null) this.#cursor = selected;
    this.#reveal(selected);
    this.#paint();
  }

  recolour(colours: Colours): void {
    this.#colours = colours;
    this.#measure = null;
    this.redraw();
  }

  resetView(): void {
    this.#zoom = "auto";
    this.#cursor = null;
    this.redraw();
  }

  image(): Promise<Blob | null> {
    return new Promise((resolve) => this.#base.toBlob(resolve, "image/png"));
  }

  /** What a picture as text is made of. */
  get scene(): MatrixScene | null {
    const [picture, at, colours, measure] = [this.#picture, this.#at, this.#colours, this.#measure];
    if (!picture || !at || !colours || !measure) return null;
    const scroll = this.#scroll;
    return { picture, at, palette: this.#inks(), colours, dpr: density(), scroll, measure, strong: this.#strong };
  }

  redraw(): void {
    const picture = this.#picture;
    const ctx = this.#base.getContext("2d");
    const width = this.el.clientWidth;
    if (!picture || !ctx || !this.#colours || width < 1) return;
    const { mono } = this.#colours;
    this.#measure ??= monospaceMeasure((text) => {
      ctx.font = `${FONT}px ${mono}`;
      return ctx.measureText(text).width;
    });
    const measure = this.#measure;
    const widest = Math.min(TOKEN_CAP, Math.max(0, ...picture.tokens.map((token) => measure(token))));
    const dpr = density();
    const aside = picture.written ? WRITTEN.gap + WRITTEN.width : 0;
    const bar = aside + barWidth({ data: { scale: picture.scale } } as Grid, TALL, measure);
    const tall = screenRoom(this.el) ?? TALL;
    const input = { width, tall, n: picture.n, zoom: this.#zoom, dpr, labelWidth: widest, barWidth: bar };
    this.#at = matrixLayout(input);
    const { view, content, height } = this.#at;
    this.#stage.style.height = `${height}px`;
    for (const canvas of [this.#base, this.#over]) {
      canvas.width = Math.round(width * dpr);
      canvas.height = Math.round(height * dpr);
      canvas.style.width = `${canvas.width / dpr}px`;
      canvas.style.height = `${canvas.height / dpr}px`;
    }
    const scrolls = content > view.w + 0.5;
    const px = (value: number) => `${value}px`;
    Object.assign(this.#scroller.style, {
      left: px(view.x),
      top: px(view.y),
      width: px(view.w),
      height: px(view.h),
      bottom: "auto",
      overflow: scrolls ? "scroll" : "hidden",
    });
    Object.assign(this.#row.style, { width: px(content), height: px(content) });
    this.#paint();
    toggle(this.zoomBar.el, scrolls || picture.n * MATRIX.near > view.w);
  }

  #inks(): Palette {
    const kind = this.#picture?.scale.kind === "diverging" ? "diverging" : "weights";
    return palette(kind, this.#colours?.dark ?? false);
  }

  get #strong(): Spot {
    const at = this.#hover ?? this.#selected;
    return { q: at.q, k: at.k };
  }

  #paint(): void {
    const ctx = this.#base.getContext("2d");
    const scene = this.scene;
    if (!ctx || !scene) return;
    const { dpr, at, picture } = scene;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.direction = "ltr";
    const binned = this.#painter.draw(ctx, scene);
    this.#outline();
    const [q0, q1] = inWindow(at, scene.scroll.y);
    const [k0, k1] = inWindow(at, scene.scroll.x);
    const each = Math.ceil(1 / (at.cell * dpr));
    const all = at.content <= at.view.w + 0.5;
    this.zoomBar.say(
      (all ? `all ${picture.n} positions` : `rows ${q0}\u2013${q1}, columns ${k0}\u2013${k1} of ${picture.n}`) +
        (binned ? `; a pixel shows the largest of up to ${each} x ${each}` : ""),
      this.#zoom,
    );
  }

  #outline(): void {
    const ctx = this.#over.getContext("2d");
    if (!ctx || !this.#at || !this.#colours) return;
    const dpr = density();
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, this.#at.width, this.#at.height);
    const cursor = this.#scroller.matches(":focus-visible") ? this.#cursor : null;
    drawSpots(ctx, this.#at, this.#scroll, this.#colours, { hover: this.#hover, selected: this.#selected, cursor });
  }

  get #scroll(): Scroll {
    const at = this.#at;
    const most = at ? Math.max(0, at.content - at.view.w) : 0;
    const dpr = density();
    const whole = (value: number) => Math.min(Math.round(value * dpr) / dpr, most);
    return { x: whole(this.#scroller.scrollLeft), y: whole(this.#scroller.scrollTop) };
  }

  #reveal({ q, k }: Spot): void {
    if (!this.#at) return;
    const { x, y } = this.#scroll;
    if (k !== null) this.#scroller.scrollLeft = shownAt(this.#at, k, x);
    if (q !== null) this.#scroller.scrollTop = shownAt(this.#at, q, y);
  }

  #zoomBy(by: ZoomStep): void {
    const at = this.#at;
    if (!at) return;
    const middle = at.view.w / 2;
    const near = Math.max(at.cell * STEP, 3);
    const spot = this.#cursor ?? this.#selected; // what a person looks at stays in view
    const at0 = spotRect(at, spot, this.#scroll);
    const about = (start: number, from: number) => (spot.q === null || spot.k === null ? middle : start - from);
    const anchor = { x: about(at0.x, at.view.x), y: about(at0.y, at.view.y) };
    this.#zoomTo(by === "in" ? near : by === "out" ? at.cell / STEP : "auto", anchor);
    if (spot.q !== null && spot.k !== null) this.#reveal(spot);
  }

  /** Zoom around a point of the window. */
  #zoomTo(zoom: Zoom, anchor: Scroll): void {
    const before = this.#at;
    if (!before) return;
    const scroll = this.#scroll;
    this.#zoom = zoom;
    this.#tip.hide();
    this.#hover = null;
    this.redraw();
    const after = this.#at;
    if (!after) return;
    if (after.content <= after.view.w + 0.5) this.#zoom = "auto";
    this.#scroller.scrollLeft = ((scroll.x + anchor.x) / before.cell) * after.cell - anchor.x;
    this.#scroller.scrollTop = ((scroll.y + anchor.y) / before.cell) * after.cell - anchor.y;
    this.#paint();
  }

  #listen(signal: AbortSignal): void {
    const on = { signal };
    const stage = this.#stage;
    stage.addEventListener(
      "pointermove",
      (event) => event.pointerType !== "touch" && this.#point(this.#under(event)),
      on,
    );
    stage.addEventListener("pointerleave", () => this.#point(null), on);
    stage.addEventListener("click", (event) => this.#choose(this.#under(event)), on);
    const scroller = this.#scroller;
    scroller.addEventListener("keydown", (event) => this.#key(event), on);
    scroller.addEventListener("focus", () => this.#outline(), on);
    scroller.addEventListener("blur", () => this.#point(null), on);
    scroller.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey || !this.#at) return;
        event.preventDefault();
        const { left, top } = scroller.getBoundingClientRect();
        const anchor = { x: event.clientX - left, y: event.clientY - top };
        this.#zoomTo(this.#at.cell * STEP ** (-event.deltaY / 100), anchor);
      },
      { signal, passive: false },
    );
    let frame = 0;
    const scrolled = () => {
      frame = 0;
      this.#point(null);
      this.#paint();
    };
    scroller.addEventListener("scroll", () => (frame ||= requestAnimationFrame(scrolled)), on);
    globalThis.addEventListener("scroll", () => this.#tip.hide(), { signal, capture: true, passive: true });
    signal.addEventListener("abort", () => {
      cancelAnimationFrame(frame);
      this.#tip.hide();
    });
    watchSize(
      this.el,
      (lost) => {
        if (lost || this.#at?.width !== this.el.clientWidth) this.redraw();
      },
      signal,
    );
  }

  #under(event: MouseEvent): Spot | null {
    if (!this.#at || !this.#picture) return null;
    const { left, top } = this.#base.getBoundingClientRect();
    const spot = spotAt(this.#at, event.clientX - left, event.clientY - top, this.#scroll);
    const blank = this.#picture.causal && spot && spot.q !== null && spot.k !== null && spot.k > spot.q;
    return blank ? null : spot;
  }

  #point(spot: Spot | null): void {
    if (same(spot, this.#hover) && (spot === null) === (this.#hover === null)) return;
    const start = performance.now();
    this.#hover = spot;
    this.#paint();
    this.#tipAt(spot);
    timing("rw:hover", start);
  }

  #tipAt(spot: Spot | null): void {
    const facts = spot && this.events.facts(spot);
    if (!spot || !facts || !this.#at) {
      this.#tip.hide();
      return;
    }
    const { view } = this.#at;
    const { left, top } = this.#base.getBoundingClientRect();
    const rect = spotRect(this.#at, spot, this.#scroll);
    // Of a token's label: beside the label, not at the end of its row.
    const at =
      spot.k === null ? { ...rect, x: 0, w: view.x } : spot.q === null ? { ...rect, y: view.y + view.h, h: 20 } : rect;
    this.#tip.show(facts, { ...at, x: at.x + left, y: at.y + top });
  }

  #choose(spot: Spot | null): void {
    if (!spot) return;
    if (spot.q !== null && spot.k !== null) this.#cursor = spot;
    this.#announce(spot, true);
    this.events.select(spot);
  }

  #announce(spot: Spot, chosen: boolean): void {
    const facts = this.events.facts(spot);
    if (!facts) return;
    const text = spoken(facts, chosen);
    setText(this.#live, text);
    setText(this.#current, text);
    this.#row.setAttribute("aria-rowindex", String((spot.q ?? 0) + 1));
    this.#current.setAttribute("aria-colindex", String((spot.k ?? 0) + 1));
    this.#current.setAttribute("aria-selected", String(chosen));
  }

  #key(event: KeyboardEvent): void {
    const [at, picture] = [this.#at, this.#picture];
    if (!at || !picture) return;
    const { n, causal } = picture;
    const from = this.#cursor ?? (this.#selected.q !== null && this.#selected.k !== null ? this.#selected : null);
    const action = keyAction(event, {
      rows: n,
      cols: n,
      page: Math.max(1, Math.floor(at.view.w / at.cell)),
      cursor: from && { row: n - 1 - from.q!, col: from.k! },
    });
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    if (action.kind === "zoom") this.#zoomBy(action.by);
    else if (action.kind === "select") this.#choose(from);
    else if (action.kind === "reset") {
      this.#cursor = null;
      this.#point(null);
      this.events.reset();
    } else {
      const q = n - 1 - action.to.row;
      const spot = { q, k: causal ? Math.min(action.to.col, q) : action.to.col };
      this.#cursor = spot;
      this.#hover = null;
      this.#reveal(spot);
      this.#paint();
      this.#announce(spot, false);
      this.#tipAt(spot);
    }
  }
}

/** What the tooltip and a screen reader are told of a cell, or of a token. */
export function spotFacts(picture: Picture, lead: string, { q, k }: Spot): Omit<Facts, "at"> {
  const { n, values, tokens, scale, causal, marked } = picture;
  const token = (pos: number) => printable(tokens[pos] ?? "");
  const label = scaleLabel(scale);
  if (q !== null && k !== null) {
    const notes = marked.has(k) ? ["marked: left out of the scale"] : [];
    if (q === k) notes.push("itself");
    const value = numberText(values[q * n + k]!, 3);
    return {
      lead,
      token: `${token(q)} \u2190 ${token(k)}`,
      where: `${q} \u2190 ${k}`,
      label,
      value,
      also: [],
      notes,
      top: [],
    };
  }
  const pos = (q ?? k)!;
  const row = q !== null;
  const others: { token: string; prob: number; size: number }[] = [];
  let sum = 0;
  for (let other = causal && !row ? pos : 0; other < (causal && row ? pos + 1 : n); other++) {
    const value = values[row ? pos * n + other : other * n + pos]!;
    sum += value;
    others.push({ token: `${token(other)} ${other}`, prob: value, size: Math.abs(value) });
  }
  const norm = row && picture.written?.[pos];
  others.sort((a, b) => b.size - a.size);
  return {
    lead,
    token: token(pos),
    where: row ? `position ${pos}, which looks` : `position ${pos}, which is looked at`,
    label: `sum of ${label}`,
    value: numberText(sum, 3),
    also: typeof norm === "number" ? [{ label: "writes, norm", value: numberText(norm, 3) }] : [],
    notes: [],
    top: others.slice(0, 5),
    topLabel: row ? "Looks at" : "Looked at by",
  };
}

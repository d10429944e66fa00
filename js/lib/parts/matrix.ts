// One head at full size as a picture that answers: pointer, keyboard, zoom. Knows no model.
import { barWidth } from "../canvas/axes";
import type { Zoom } from "../canvas/layout";
import { density } from "../canvas/picture";
import { inks } from "../canvas/scale";
import { measureIn, penOf, pngOf, sized } from "../canvas/sized";
import type { Measure } from "../canvas/text";
import { screenRoom } from "../canvas/visible";
import { ZoomBar, type ZoomStep } from "../canvas/zoom";
import { h, toggle } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { type Facts, spoken } from "../page/facts";
import { Tooltip } from "../page/tooltip";
import type { Grid } from "../wire/grid";
import { measure as timing } from "../wire/timing";
import {
  anchorOf,
  MATRIX,
  type MatrixInput,
  type MatrixLayout,
  matrixLayout,
  type Scroll,
  type Spot,
  sameSpot,
  shownAt,
  spotAt,
  spotKey,
  tipRect,
  windowText,
} from "./matrix_layout";
import { drawSpots, MatrixPainter, type MatrixScene, type Picture, TOKEN_CAP, WRITTEN } from "./matrix_paint";
import { matrixSvg } from "./matrix_svg";
import { listen, placeWindow, SpokenCell } from "./surface";

const STEP = 1.5;
/** Cells are at most this high altogether, where there is no whole screen. */
const TALL = 440;

export interface MatrixEvents {
  select(spot: Spot): void;
  reset(): void;
  facts(spot: Spot): Facts | null;
}

export class Matrix {
  readonly el: HTMLElement;
  readonly zoomBar = new ZoomBar((by) => this.#zoomBy(by));
  readonly #base = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #over = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #spoken = new SpokenCell();
  readonly #scroller = h("div", "rw-scroll rw-matrix-scroll", { role: "grid", tabindex: 0 }, this.#spoken.row);
  readonly #stage = h("div", "rw-stage", {}, this.#base, this.#over, this.#scroller);
  readonly #tip = new Tooltip();
  readonly #painter = new MatrixPainter();
  #colours: Colours | null = null;
  #measure: Measure | null = null;
  #picture: Picture | null = null;
  #input: MatrixInput | null = null;
  #at: MatrixLayout | null = null;
  #zoom: Zoom = "auto";
  #hover: Spot | null = null;
  #cursor: Spot | null = null;
  #selected: Spot = { q: null, k: null };

  constructor(
    private readonly events: MatrixEvents,
    signal: AbortSignal,
  ) {
    this.el = h("div", "rw-matrix", {}, this.#stage, this.#spoken.live, this.#tip.el);
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
    this.#spoken.size(this.#scroller, picture.n, picture.n);
    this.redraw();
    timing("rw:draw", arrived);
  }

  select(selected: Spot): void {
    if (sameSpot(selected, this.#selected)) return;
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
    return pngOf(this.#base);
  }

  /** The picture as text, all of its positions. */
  svg(title: string): string | null {
    return this.scene && this.#input && matrixSvg(this.scene, matrixLayout({ ...this.#input, zoom: "auto" }), title);
  }

  get scene(): MatrixScene | null {
    const [picture, at, colours, measure] = [this.#picture, this.#at, this.#colours, this.#measure];
    if (!picture || !at || !colours || !measure) return null;
    const palette = inks(picture.scale.kind, colours.dark);
    const strong = this.#hover ?? this.#selected;
    return { picture, at, palette, colours, dpr: density(), scroll: this.#scroll, measure, strong };
  }

  redraw(): void {
    const picture = this.#picture;
    const width = this.el.clientWidth;
    if (!picture || !this.#colours || width < 1) return;
    this.#measure ??= measureIn(this.#base, this.#colours.mono);
    const measure = this.#measure;
    const widest = Math.min(TOKEN_CAP, Math.max(0, ...picture.tokens.map((token) => measure(token))));
    const dpr = density();
    const aside = picture.written ? WRITTEN.gap + WRITTEN.width : 0;
    const bar = aside + barWidth({ data: { scale: picture.scale } } as Grid, TALL, measure);
    const tall = screenRoom(this.el) ?? TALL;
    this.#input = { width, tall, n: picture.n, zoom: this.#zoom, dpr, labelWidth: widest, barWidth: bar };
    this.#at = matrixLayout(this.#input);
    const { view, content, height } = this.#at;
    this.#stage.style.height = `${height}px`;
    sized([this.#base, this.#over], width, height);
    const scrolls = content > view.w + 0.5;
    placeWindow(this.#scroller, this.#spoken.row, view, content);
    this.#paint();
    toggle(this.zoomBar.el, scrolls || picture.n * MATRIX.near > view.w);
  }

  #paint(): void {
    const ctx = penOf(this.#base);
    const scene = this.scene;
    if (!ctx || !scene) return;
    const { dpr, at } = scene;
    const binned = this.#painter.draw(ctx, scene);
    this.#outline();
    this.zoomBar.say(windowText(at, scene.scroll, binned ? dpr : null), this.#zoom);
  }

  #outline(): void {
    const ctx = penOf(this.#over);
    if (!ctx || !this.#at || !this.#colours) return;
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
    const near = Math.max(at.cell * STEP, 3);
    const spot = this.#cursor ?? this.#selected; // what a person looks at stays in view
    const anchor = anchorOf(at, spot, this.#scroll);
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
    const on = {
      over: (event: MouseEvent | null) => this.#point(event && this.#under(event)),
      click: (event: MouseEvent) => this.#choose(this.#under(event)),
      key: (event: KeyboardEvent) => this.#key(event),
      focus: () => this.#outline(),
      scrolled: () => {
        this.#point(null);
        this.#paint();
      },
      hideTip: () => this.#tip.hide(),
      resized: (lost: boolean) => {
        if (lost || this.#at?.width !== this.el.clientWidth) this.redraw();
      },
    };
    listen(this.el, this.#stage, this.#scroller, on, signal);
    const wheel = (event: WheelEvent) => {
      if (!event.ctrlKey || !this.#at) return;
      event.preventDefault();
      const { left, top } = this.#scroller.getBoundingClientRect();
      const anchor = { x: event.clientX - left, y: event.clientY - top };
      this.#zoomTo(this.#at.cell * STEP ** (-event.deltaY / 100), anchor);
    };
    this.#scroller.addEventListener("wheel", wheel, { signal, passive: false });
  }

  #under(event: MouseEvent): Spot | null {
    if (!this.#at || !this.#picture) return null;
    const { left, top } = this.#base.getBoundingClientRect();
    const spot = spotAt(this.#at, event.clientX - left, event.clientY - top, this.#scroll);
    const blank = this.#picture.causal && spot && spot.q !== null && spot.k !== null && spot.k > spot.q;
    return blank ? null : spot;
  }

  #point(spot: Spot | null): void {
    if (sameSpot(spot, this.#hover) && (spot === null) === (this.#hover === null)) return;
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
    const { left, top } = this.#base.getBoundingClientRect();
    const at = tipRect(this.#at, spot, this.#scroll);
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
    this.#spoken.say(spoken(facts, chosen), spot.q ?? 0, spot.k ?? 0, chosen);
  }

  #key(event: KeyboardEvent): void {
    const [at, picture] = [this.#at, this.#picture];
    if (!at || !picture) return;
    const from = this.#cursor ?? (this.#selected.q !== null && this.#selected.k !== null ? this.#selected : null);
    const action = spotKey(event, at, from, picture.causal);
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
      const spot = action.to;
      this.#cursor = spot;
      this.#hover = null;
      this.#reveal(spot);
      this.#paint();
      this.#announce(spot, false);
      this.#tipAt(spot);
    }
  }
}

// One head as arcs over the tokens: from the one that is looked at to the one that looks. Tokens can be pinned and summed.
import { numberText } from "../canvas/number";
import { FONT } from "../canvas/paint";
import { density } from "../canvas/picture";
import { type Measure, monospaceMeasure, printable } from "../canvas/text";
import { watchSize } from "../canvas/visible";
import { h, setText, toggle, tokenSpan } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { type Facts, spoken } from "../page/facts";
import { keyAction } from "../page/keyboard";
import { Tooltip } from "../page/tooltip";
import { measure as timing } from "../wire/timing";
import {
  ARCS,
  type Arc,
  type ArcLayout,
  type ArcList,
  arcAt,
  arcLayout,
  arcList,
  arcsOf,
  centre,
  ellipse,
  sumOf,
  tokenAt,
} from "./arc_list";
import type { MatrixEvents } from "./matrix";
import type { Spot } from "./matrix_layout";
import { labelOf, type Picture, TOKEN_CAP } from "./matrix_paint";

const FROM = "#b35900";
const FROM_DARK = "#ffb454";
const RED = "#b2182b";
const RED_DARK = "#ff8a7d";

export class Arcs {
  readonly el: HTMLElement;
  readonly #canvas = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #current = h("div", "rw-hidden-text", { role: "gridcell" });
  readonly #row = h("div", "rw-spacer", { role: "row", "aria-rowindex": 1 }, this.#current);
  readonly #scroller = h(
    "div",
    "rw-scroll rw-arc-scroll",
    { role: "grid", tabindex: 0, "aria-rowcount": 1 },
    this.#row,
  );
  readonly #stage = h("div", "rw-stage", {}, this.#canvas, this.#scroller);
  readonly #pins = h("div", "rw-pins");
  readonly #note = h("div", "rw-dim rw-part-note");
  readonly #live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  readonly #tip = new Tooltip();
  #colours: Colours | null = null;
  #measure: Measure | null = null;
  #picture: Picture | null = null;
  #list: ArcList = { arcs: [], least: 0, left: 0, sinks: 0 };
  #at: ArcLayout | null = null;
  #selected: Spot = { q: null, k: null };
  #token = -1;
  #arc: Arc | null = null;
  #cursor = -1;
  readonly #pinned = new Set<number>();
  /** Nothing of these tokens was drawn yet. */
  #unseen = true;

  constructor(
    private readonly events: MatrixEvents,
    signal: AbortSignal,
  ) {
    this.el = h("div", "rw-arcs", {}, this.#pins, this.#stage, this.#note, this.#live, this.#tip.el);
    this.#listen(signal);
  }

  show(picture: Picture, label: string, selected: Spot): void {
    if (picture.n !== this.#picture?.n) {
      this.#pinned.clear();
      this.#unseen = true;
    }
    this.#picture = picture;
    this.#list = arcList(picture);
    this.#selected = selected;
    this.#scroller.setAttribute("aria-label", `${label}, arcs`);
    this.#scroller.setAttribute("aria-colcount", String(picture.n));
    this.#told();
    this.redraw();
  }

  select(selected: Spot): void {
    this.#selected = selected;
    this.#paint();
  }

  recolour(colours: Colours): void {
    this.#colours = colours;
    this.#measure = null;
    this.redraw();
  }

  resetView(): void {
    this.#pinned.clear();
    this.#cursor = -1;
    this.#told();
    this.redraw();
  }

  image(): Promise<Blob | null> {
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/png"));
  }

  redraw(): void {
    const picture = this.#picture;
    const ctx = this.#canvas.getContext("2d");
    const width = this.el.clientWidth;
    if (!picture || !ctx || !this.#colours || width < 1) return;
    const { mono } = this.#colours;
    this.#measure ??= monospaceMeasure((text) => {
      ctx.font = `${FONT}px ${mono}`;
      return ctx.measureText(text).width;
    });
    const measure = this.#measure;
    const widest = Math.min(TOKEN_CAP, Math.max(0, ...picture.tokens.map((token) => measure(token))));
    this.#at = arcLayout(width, picture.n, widest, this.#pinned.size > 0);
    const dpr = density();
    const scrolls = this.#at.content > width + 0.5;
    const { style } = this.#canvas;
    this.#canvas.width = Math.round(width * dpr);
    this.#canvas.height = Math.round(this.#at.height * dpr);
    style.width = `${this.#canvas.width / dpr}px`;
    style.height = `${this.#canvas.height / dpr}px`;
    this.#stage.style.height = `${this.#at.height + (scrolls ? 12 : 0)}px`;
    Object.assign(this.#scroller.style, { inset: "0", overflowX: scrolls ? "scroll" : "hidden", overflowY: "hidden" });
    Object.assign(this.#row.style, { width: `${this.#at.content}px`, height: `${this.#at.height}px` });
    if (this.#unseen) this.#reveal(this.#selected.q ?? picture.n - 1);
    this.#unseen = false;
    this.#paint();
  }

  #reveal(token: number): void {
    const at = this.#at;
    if (!at) return;
    const x = ARCS.pad + token * at.cell;
    if (x < this.#scroll) this.#scroller.scrollLeft = x - ARCS.pad;
    else if (x + at.cell > this.#scroll + at.width - 60) this.#scroller.scrollLeft = x + at.cell + 60 - at.width;
  }

  get #scroll(): number {
    return this.#scroller.scrollLeft;
  }

  /** Tokens whose arcs stand out: the one pointed at, else those pinned, else the selected one. */
  get #lit(): number[] {
    if (this.#token >= 0) return [this.#token];
    if (this.#pinned.size) return [...this.#pinned];
    return [];
  }

  #paint(): void {
    const ctx = this.#canvas.getContext("2d");
    const [picture, at, colours] = [this.#picture, this.#at, this.#colours];
    if (!ctx || !picture || !at || !colours) return;
    const dpr = density();
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.direction = "ltr";
    ctx.fillStyle = colours.bg;
    ctx.fillRect(0, 0, at.width, at.height);
    const lit = this.#lit;
    const { accent, dark } = colours;
    const ink = (arc: Arc) => (arc.value < 0 ? (dark ? RED_DARK : RED) : accent);
    const fade = lit.length ? 0.14 : 1;
    for (const arc of this.#list.arcs) this.#stroke(ctx, arc, ink(arc), fade);
    const pinned = this.#token < 0 && this.#pinned.size > 0;
    for (const token of lit) {
      const found = arcsOf(picture, token, this.#list.least);
      if (!pinned) for (const arc of found.in) this.#stroke(ctx, arc, dark ? FROM_DARK : FROM, 1);
      for (const arc of found.out) this.#stroke(ctx, arc, ink(arc), 1);
    }
    const { q, k } = this.#selected;
    if (q !== null && k !== null) {
      const chosen = { q, k, value: picture.values[q * picture.n + k]! };
      this.#stroke(ctx, chosen, dark ? "#fff" : "#000", 1, 1.5);
    }
    if (this.#arc) this.#stroke(ctx, this.#arc, dark ? "#fff" : "#000", 1, 1);
    ctx.globalAlpha = 1;
    this.#sums(ctx, picture, at, colours);
    this.#labels(ctx, picture, at, colours, lit);
  }

  #stroke(ctx: CanvasRenderingContext2D, arc: Arc, ink: string, fade: number, thick?: number): void {
    const [at, picture] = [this.#at, this.#picture];
    if (!at || !picture) return;
    const scroll = this.#scroll;
    const [a, b] = [centre(at, arc.q, scroll), centre(at, arc.k, scroll)];
    if (Math.max(a, b) < -20 || Math.min(a, b) > at.width + 20) return;
    const most = Math.max(Math.abs(picture.scale.low ?? 0), Math.abs(picture.scale.high ?? 0)) || 1;
    const size = Math.min(1, Math.abs(arc.value) / most);
    const { rx, ry } = ellipse(at, arc);
    ctx.strokeStyle = ink;
    ctx.lineWidth = thick ?? 0.5 + 3.5 * size;
    ctx.globalAlpha = thick ? 1 : fade * (0.12 + 0.75 * size);
    ctx.beginPath();
    if (arc.q === arc.k) ctx.ellipse(a, at.arcs - ry - 2, rx, ry, 0, 0, 2 * Math.PI);
    else ctx.ellipse((a + b) / 2, at.arcs, rx, ry, 0, Math.PI, 2 * Math.PI);
    ctx.stroke();
  }

  /** What the pinned tokens together take from each position, as bars. */
  #sums(ctx: CanvasRenderingContext2D, picture: Picture, at: ArcLayout, colours: Colours): void {
    if (!this.#pinned.size) return;
    const sums = sumOf(picture, this.#pinned);
    const most =
      this.#pinned.size * (Math.max(Math.abs(picture.scale.low ?? 0), Math.abs(picture.scale.high ?? 0)) || 1);
    const scroll = this.#scroll;
    const base = at.arcs + at.sums - 2;
    const room = at.sums - 14;
    ctx.font = `${FONT}px ${colours.sans}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "alphabetic";
    sums.forEach((sum, k) => {
      const high = Math.min(1, Math.abs(sum) / most) * room;
      const x = centre(at, k, scroll);
      ctx.fillStyle = sum < 0 ? (colours.dark ? RED_DARK : RED) : colours.accent;
      const wide = Math.min(16, at.cell - 4);
      ctx.fillRect(x - wide / 2, base - high, wide, high);
      if (at.cell >= 28 && Math.abs(sum) >= this.#list.least) {
        ctx.fillStyle = colours.ink;
        ctx.fillText(numberText(sum, 2), x, base - high - 3);
      }
    });
    ctx.fillStyle = colours.line;
    ctx.fillRect(0, base, at.width, 1);
  }

  #labels(ctx: CanvasRenderingContext2D, picture: Picture, at: ArcLayout, colours: Colours, lit: number[]): void {
    const measure = this.#measure;
    if (!measure) return;
    const scroll = this.#scroll;
    const chosen = new Set([...lit, ...(this.#arc ? [this.#arc.q, this.#arc.k] : [])]);
    for (const end of [this.#selected.q, this.#selected.k]) if (end !== null) chosen.add(end);
    const near = (i: number) => [...chosen].some((a) => a !== i && Math.abs(a - i) < at.step);
    ctx.textBaseline = "middle";
    const y = at.arcs + at.sums + (at.level ? 13 : 9);
    for (let i = 0; i < at.n; i++) {
      const x = centre(at, i, scroll);
      if (x < -TOKEN_CAP || x > at.width + 10) continue;
      const strong = chosen.has(i) || this.#pinned.has(i);
      if (!strong && (i % at.step !== 0 || near(i))) continue;
      const text = labelOf(picture, i, measure);
      ctx.save();
      ctx.translate(at.level ? x : x - 2, y);
      if (!at.level) ctx.rotate(Math.PI / 4);
      ctx.textAlign = at.level ? "center" : "left";
      ctx.font = `${strong ? "700 " : ""}${FONT}px ${colours.mono}`;
      if (this.#pinned.has(i)) {
        const wide = measure(text) + 8;
        ctx.fillStyle = colours.accent;
        ctx.globalAlpha = 0.2;
        ctx.beginPath();
        ctx.roundRect(at.level ? -wide / 2 : -4, -8, wide, 16, 3);
        ctx.fill();
        ctx.globalAlpha = 1;
      }
      ctx.fillStyle = picture.unknown.has(i) ? colours.amber : picture.marked.has(i) ? colours.dim : colours.ink;
      ctx.fillText(text, 0, 0);
      if (i === this.#cursor && this.#scroller.matches(":focus-visible")) {
        const wide = measure(text) + 8;
        ctx.strokeStyle = colours.accent;
        ctx.lineWidth = 2;
        ctx.setLineDash([4, 2]);
        ctx.strokeRect(at.level ? -wide / 2 : -4, -9, wide, 18);
      }
      ctx.restore();
    }
  }

  // What is said

  #told(): void {
    const { least, left, sinks } = this.#list;
    const parts = [
      sinks > 0.005 ? `arcs to marked positions (${sinks.toFixed(2)} of all) only for a token that is pointed at` : "",
      left > 0.005 ? `arcs under ${numberText(least, 2)} not drawn (${left.toFixed(2)} of all)` : "",
      "click a token to pin it",
    ];
    setText(this.#note, parts.filter(Boolean).join("; "));
    const unpin = (tokens: number[]) => () => {
      for (const token of tokens) this.#pinned.delete(token);
      this.#told();
      this.redraw();
      this.#scroller.focus({ preventScroll: true });
    };
    const button = (text: string, name: string, act: () => void, style: string) => {
      const made = h("button", style, { type: "button", "aria-label": name, title: name }, text);
      made.addEventListener("click", act);
      return made;
    };
    const pinned = [...this.#pinned].sort((a, b) => a - b);
    const chips = pinned.map((token) => {
      const text = printable(this.#picture?.tokens[token] ?? "");
      const off = button("\u00d7", `Unpin ${text}`, unpin([token]), "rw-off");
      return h("span", "rw-chip", {}, h("span", "", {}, tokenSpan(text), h("span", "rw-dim", {}, ` ${token}`)), off);
    });
    this.#pins.replaceChildren(
      h("span", "rw-dim", {}, pinned.length > 1 ? `Sum of ${pinned.length} pinned:` : "Pinned:"),
      ...chips,
      button("Unpin all", "Unpin all", unpin(pinned), "rw-button rw-small"),
    );
    toggle(this.#pins, pinned.length > 0);
  }

  #factsOf(token: number): Facts | null {
    const facts = this.events.facts({ q: token, k: null });
    const seen = this.events.facts({ q: null, k: token });
    if (!facts) return null;
    const best = seen?.top.filter(({ prob }) => (prob ?? 0) >= this.#list.least).slice(0, 2) ?? [];
    const by = best.map(({ token: name, prob }) => `${name} (${numberText(prob ?? 0, 2)})`).join(", ");
    const notes = [...facts.notes, ...(by ? [`looked at by ${by}`] : [])];
    if (this.#pinned.size > 1 && this.#picture) {
      const sum = sumOf(this.#picture, this.#pinned)[token]!;
      notes.push(`the ${this.#pinned.size} pinned take ${numberText(sum, 3)} from it`);
    }
    return { ...facts, notes };
  }

  // Pointer and keyboard

  #listen(signal: AbortSignal): void {
    const on = { signal };
    const scroller = this.#scroller;
    scroller.addEventListener(
      "pointermove",
      (event) => {
        if (event.pointerType !== "touch") this.#point(...this.#under(event));
      },
      on,
    );
    scroller.addEventListener("pointerleave", () => this.#point(-1, null), on);
    scroller.addEventListener(
      "click",
      (event) => {
        const [token, arc] = this.#under(event);
        if (token >= 0) this.#pin(token);
        else if (arc) this.events.select({ q: arc.q, k: arc.k });
      },
      on,
    );
    scroller.addEventListener("keydown", (event) => this.#key(event), on);
    scroller.addEventListener("focus", () => this.#paint(), on);
    scroller.addEventListener("blur", () => this.#point(-1, null), on);
    let frame = 0;
    const scrolled = () => {
      frame = 0;
      this.#tip.hide();
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

  #under(event: MouseEvent): [number, Arc | null] {
    const at = this.#at;
    if (!at) return [-1, null];
    const { left, top } = this.#canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const token = tokenAt(at, x, y, this.#scroll);
    return [token, token < 0 ? arcAt(at, this.#list.arcs, x, y, this.#scroll) : null];
  }

  #point(token: number, arc: Arc | null): void {
    if (token === this.#token && arc === this.#arc) return;
    const start = performance.now();
    this.#token = token;
    this.#arc = arc;
    this.#scroller.style.cursor = token >= 0 || arc ? "pointer" : "default";
    this.#paint();
    this.#tipAt();
    timing("rw:hover", start);
  }

  #tipAt(): void {
    const at = this.#at;
    const [token, arc] = [this.#token, this.#arc];
    const facts = token >= 0 ? this.#factsOf(token) : arc ? this.events.facts({ q: arc.q, k: arc.k }) : null;
    if (!facts || !at) {
      this.#tip.hide();
      return;
    }
    const { left, top } = this.#canvas.getBoundingClientRect();
    const middle = arc ? (centre(at, arc.q, this.#scroll) + centre(at, arc.k, this.#scroll)) / 2 : 0;
    const x = token >= 0 ? centre(at, token, this.#scroll) - 10 : middle;
    const y = token >= 0 ? at.arcs + at.sums : at.arcs - ellipse(at, arc!).ry;
    this.#tip.show(facts, { x: left + x, y: top + y, w: 20, h: 24 });
  }

  #pin(token: number): void {
    if (this.#pinned.has(token)) this.#pinned.delete(token);
    else this.#pinned.add(token);
    this.#cursor = token;
    this.#told();
    this.redraw();
    this.#say(token, this.#pinned.has(token) ? "pinned" : "not pinned");
    this.events.select({ q: token, k: null });
  }

  #say(token: number, more = ""): void {
    const facts = this.#factsOf(token);
    if (!facts) return;
    const best = facts.top.slice(0, 3).map(({ token: name, prob }) => `${name} ${numberText(prob ?? 0, 2)}`);
    const text = [spoken({ ...facts, top: [] }, false), ...best, more].filter(Boolean).join(", ");
    setText(this.#live, text);
    setText(this.#current, text);
    this.#current.setAttribute("aria-colindex", String(token + 1));
    this.#current.setAttribute("aria-selected", String(this.#pinned.has(token)));
  }

  #key(event: KeyboardEvent): void {
    const at = this.#at;
    if (!at) return;
    const action = keyAction(event, {
      rows: 1,
      cols: at.n,
      page: Math.max(1, Math.floor(at.width / at.cell)),
      cursor: this.#cursor < 0 ? null : { row: 0, col: this.#cursor },
    });
    if (!action || action.kind === "zoom") return;
    event.preventDefault();
    event.stopPropagation();
    if (action.kind === "select") this.#pin(this.#cursor);
    else if (action.kind === "reset") {
      this.resetView();
      this.events.reset();
    } else {
      this.#cursor = action.to.col;
      this.#reveal(this.#cursor);
      this.#token = this.#cursor;
      this.#paint();
      this.#tipAt();
      this.#say(this.#cursor);
    }
  }
}

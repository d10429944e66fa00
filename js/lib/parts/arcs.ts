// One head as arcs over the tokens: from the one that is looked at to the one that looks. Tokens can be pinned and summed.
import { numberText } from "../canvas/number";
import { measureIn, penOf, pngOf, sized } from "../canvas/sized";
import { type Measure, printable } from "../canvas/text";
import { h, setText } from "../dom/dom";
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
  centre,
  ellipse,
  sumOf,
  tokenAt,
} from "./arc_list";
import { drawArcs } from "./arc_paint";
import type { MatrixEvents } from "./matrix";
import type { Spot } from "./matrix_layout";
import { type Picture, TOKEN_CAP } from "./matrix_paint";
import { fillPins } from "./pins";
import { listen, SpokenCell } from "./surface";

export class Arcs {
  readonly el: HTMLElement;
  readonly #canvas = h("canvas", "rw-canvas", { "aria-hidden": "true" });
  readonly #spoken = new SpokenCell();
  readonly #scroller = h("div", "rw-scroll rw-arc-scroll", { role: "grid", tabindex: 0 }, this.#spoken.row);
  readonly #stage = h("div", "rw-stage", {}, this.#canvas, this.#scroller);
  readonly #pins = h("div", "rw-pins");
  readonly #note = h("div", "rw-dim rw-part-note");
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
    this.el = h("div", "rw-arcs", {}, this.#pins, this.#stage, this.#note, this.#spoken.live, this.#tip.el);
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
    this.#spoken.size(this.#scroller, 1, picture.n);
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
    return pngOf(this.#canvas);
  }

  redraw(): void {
    const picture = this.#picture;
    const width = this.el.clientWidth;
    if (!picture || !this.#colours || width < 1) return;
    this.#measure ??= measureIn(this.#canvas, this.#colours.mono);
    const measure = this.#measure;
    const widest = Math.min(TOKEN_CAP, Math.max(0, ...picture.tokens.map((token) => measure(token))));
    this.#at = arcLayout(width, picture.n, widest, this.#pinned.size > 0);
    const scrolls = this.#at.content > width + 0.5;
    sized([this.#canvas], width, this.#at.height);
    this.#stage.style.height = `${this.#at.height + (scrolls ? 12 : 0)}px`;
    Object.assign(this.#scroller.style, { inset: "0", overflowX: scrolls ? "scroll" : "hidden", overflowY: "hidden" });
    Object.assign(this.#spoken.row.style, { width: `${this.#at.content}px`, height: `${this.#at.height}px` });
    // Where tokens stand, for whoever has to point at one from outside.
    Object.assign(this.el.dataset, { pad: ARCS.pad, cell: this.#at.cell, tokens: this.#at.arcs + this.#at.sums });
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

  #paint(): void {
    const ctx = penOf(this.#canvas);
    const [picture, at, colours, measure] = [this.#picture, this.#at, this.#colours, this.#measure];
    if (!ctx || !picture || !at || !colours || !measure) return;
    drawArcs(ctx, {
      picture,
      list: this.#list,
      at,
      colours,
      measure,
      scroll: this.#scroll,
      selected: this.#selected,
      token: this.#token,
      arc: this.#arc,
      pinned: this.#pinned,
      cursor: this.#scroller.matches(":focus-visible") ? this.#cursor : -1,
    });
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
    const texts = (token: number) => printable(this.#picture?.tokens[token] ?? "");
    fillPins(this.#pins, [...this.#pinned], texts, (tokens) => {
      for (const token of tokens) this.#pinned.delete(token);
      this.#told();
      this.redraw();
      this.#scroller.focus({ preventScroll: true });
    });
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
    const on = {
      over: (event: MouseEvent | null) => (event ? this.#point(...this.#under(event)) : this.#point(-1, null)),
      click: (event: MouseEvent) => {
        const [token, arc] = this.#under(event);
        if (token >= 0) this.#pin(token);
        else if (arc) this.events.select({ q: arc.q, k: arc.k });
      },
      key: (event: KeyboardEvent) => this.#key(event),
      focus: () => this.#paint(),
      scrolled: () => this.#paint(),
      hideTip: () => this.#tip.hide(),
      resized: (lost: boolean) => {
        if (lost || this.#at?.width !== this.el.clientWidth) this.redraw();
      },
    };
    listen(this.el, this.#scroller, this.#scroller, on, signal);
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
    this.#spoken.say(text, 0, token, this.#pinned.has(token));
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

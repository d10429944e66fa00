// Where a neuron was active: pieces of prompts, each token on the colour of its activation.

import { numberText, tickText } from "../canvas/number";
import { printable } from "../canvas/text";
import { h, setText, toggle, tokenSpan } from "../dom/dom";
import { barRow } from "../page/bars";
import type { NeuronContext, NeuronDetails, NeuronText } from "../wire/model";
import { positions, type Range } from "./histogram";

type Kind = NeuronContext["kind"];
const KINDS: Record<Kind, string> = { top: "largest", bottom: "smallest", sample: "random" };
const SHOWN = 20;

interface Piece extends NeuronText {
  /** Whether its prompt goes on after it. */
  more?: boolean;
}

export class Contexts {
  readonly el: HTMLElement;
  readonly #choice = h("fieldset", "rw-group rw-choice", { "aria-label": "Which contexts" });
  readonly #said = h("span", "rw-dim", { "aria-live": "polite" });
  readonly #all = h("button", "rw-button rw-small", { type: "button" }, "All activations");
  readonly #own = h("div", "rw-contexts", { role: "list", "aria-label": "Your text" });
  readonly #list = h("div", "rw-contexts", { role: "list", "aria-label": "Contexts" });
  #neuron: NeuronDetails | null = null;
  #kind: Kind = "top";
  #range: Range | null = null;

  /** @param clear takes the brush off the histogram */
  constructor(clear: () => void, signal: AbortSignal) {
    for (const [kind, label] of Object.entries(KINDS) as [Kind, string][]) {
      const button = h("button", "rw-button rw-small", { type: "button", name: kind }, label);
      const choose = () => {
        this.#kind = kind;
        this.#refill();
      };
      button.addEventListener("click", choose, { signal });
      this.#choice.append(button);
    }
    this.#all.addEventListener("click", clear, { signal });
    this.el = h(
      "div",
      "",
      {},
      this.#own,
      h("div", "rw-context-head", {}, h("b", "", {}, "Contexts"), this.#choice, this.#all, this.#said),
      this.#list,
    );
  }

  show(neuron: NeuronDetails): void {
    this.#neuron = neuron;
    this.#range = null;
    if (!this.#of(this.#kind).length) this.#kind = "top";
    this.#own.replaceChildren(...(neuron.own ? [h("div", "rw-heading", {}, "Your text"), this.#text(neuron.own)] : []));
    this.#refill();
  }

  /** Show only contexts of such activations; null shows the chosen list. */
  between(range: Range | null): void {
    this.#range = range;
    this.#refill();
  }

  #of(kind: string): NeuronContext[] {
    return this.#neuron!.contexts.filter((context) => context.kind === kind);
  }

  #refill(): void {
    const neuron = this.#neuron;
    if (!neuron) return;
    const range = this.#range;
    toggle(this.#choice, range === null);
    toggle(this.#all, range !== null);
    for (const button of this.#choice.querySelectorAll("button")) {
      toggle(button, this.#of(button.name).length > 0);
      button.setAttribute("aria-pressed", String(button.name === this.#kind));
    }
    const all = range
      ? distinct(neuron).filter(({ activation: a }) => a >= range.low && a < range.high)
      : this.#of(this.#kind);
    const shown = all.slice(0, SHOWN);
    const more = all.length > shown.length ? `, ${shown.length} of ${all.length} shown` : "";
    setText(
      this.#said,
      range
        ? `${tickText(range.low)} to ${tickText(range.high)}: ${positions(range.count)}, ${all.length} kept${more}`
        : this.#kind === "sample"
          ? `${all.length} positions of ${neuron.sampled} prompts drawn from ${neuron.prompts}${more}`
          : "",
    );
    this.#list.replaceChildren(...shown.map((context) => this.#context(context)));
  }

  #context({ text, pos, activation }: NeuronContext): HTMLElement {
    const piece = this.#neuron!.texts[text]!;
    const { around } = this.#neuron!;
    const at = pos - piece.start;
    return this.#piece(piece, at, activation, Math.max(0, at - around), at + around + 1);
  }

  /** The user's own text, whole, with the largest activation. */
  #text(piece: NeuronText): HTMLElement {
    const counted = piece.activations.map((a, i) => (piece.marked.includes(i) ? null : a) ?? Number.NEGATIVE_INFINITY);
    const largest = Math.max(...counted);
    return this.#piece(piece, counted.indexOf(largest), Number.isFinite(largest) ? largest : null);
  }

  #piece(piece: NeuronText, at: number, activation: number | null, from = 0, to?: number): HTMLElement {
    const where = piece.prompt === null ? "largest" : `prompt ${piece.prompt}, position ${at + piece.start}`;
    const number = activation === null ? "\u2013" : numberText(activation);
    return h(
      "div",
      "rw-context",
      { role: "listitem", title: where },
      h("span", "rw-number rw-dim", {}, number),
      this.#tokens(piece, from, to, at),
    );
  }

  #tokens(piece: Piece, from: number, to: number | undefined, center: number): HTMLElement {
    const { edges } = this.#neuron!;
    const size = Math.max(Math.abs(edges[0] ?? 0), Math.abs(edges.at(-1) ?? 0)) || 1;
    const out = h("span", "rw-context-text");
    const end = Math.min(to ?? piece.tokens.length, piece.tokens.length);
    if (piece.start + from > 0) out.append(ellipsis());
    piece.tokens.slice(from, to).forEach((token, i) => {
      const at = from + i;
      const activation = piece.activations[at] ?? null;
      const el = tokenSpan(printable(token));
      const marked = piece.marked.includes(at);
      el.title = `${activation === null ? "not finite" : numberText(activation, 4)}${marked ? ", left out of the statistics" : ""}`;
      if (at === center) el.classList.add("rw-center");
      if (marked) el.classList.add("rw-marked");
      else if (activation !== null) {
        el.style.setProperty("--rw-share", String(Math.min(1, Math.abs(activation) / size)));
        el.classList.add(activation < 0 ? "rw-below" : "rw-above");
      }
      out.append(el);
    });
    if (end < piece.tokens.length || piece.more) out.append(ellipsis());
    return out;
  }
}

/** Stands where a prompt goes on. */
export const ellipsis = (): HTMLElement => h("span", "rw-dim rw-more", { title: "the prompt goes on" }, "\u2026");

/** Each position once, the largest activation first. */
function distinct({ contexts, texts }: NeuronDetails): NeuronContext[] {
  const known = new Map(contexts.map((context) => [`${texts[context.text]?.prompt} ${context.pos}`, context]));
  return [...known.values()].sort((a, b) => b.activation - a.activation);
}

/** The tokens that the neuron raises and lowers most. */
export function effects({ effects }: NeuronDetails): HTMLElement[] {
  const size = Math.max(...effects.map(({ value }) => Math.abs(value)));
  return (["promoted", "suppressed"] as const).flatMap((side) => {
    const rows = effects
      .filter((effect) => effect.side === side)
      .map(({ token, value }) => barRow(token, Math.abs(value) / size, numberText(value), `rw-${side}`));
    const unit = h("span", "rw-dim", {}, "logits per unit");
    const heading = h("div", "rw-heading", {}, side === "promoted" ? "Promotes " : "Suppresses ", unit);
    return [heading, h("div", "rw-bars", { role: "list" }, ...rows)];
  });
}

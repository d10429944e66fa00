// The strip under a long picture: which positions are in view, and how near.
import { h, setText } from "../dom/dom";
import type { Zoom } from "./layout";

export type ZoomStep = "in" | "out" | "auto" | "fit";

const button = (label: string, name: string) =>
  h("button", "rw-button rw-small", { type: "button", "aria-label": name, title: name }, label);

export class ZoomBar {
  readonly #text = h("span", "rw-dim");
  readonly #out = button("\u2212", "Show more positions (\u2212)");
  readonly #fit = button("fit", "Show all positions at once");
  readonly #near = button("+", "Show fewer, wider positions (+)");
  readonly #group = h("span", "rw-group", { role: "group", "aria-label": "Zoom" }, this.#out, this.#fit, this.#near);
  readonly el = h("div", "rw-zoom", {}, this.#text, h("span", "rw-grow"), this.#group);
  #zoom: Zoom = "auto";

  constructor(act: (by: ZoomStep) => void) {
    this.#out.addEventListener("click", () => act("out"));
    this.#near.addEventListener("click", () => act("in"));
    this.#fit.addEventListener("click", () => act(this.#zoom === "fit" ? "auto" : "fit"));
  }

  say(text: string, zoom: Zoom): void {
    this.#zoom = zoom;
    setText(this.#text, text);
    this.#fit.setAttribute("aria-pressed", String(zoom === "fit"));
  }
}

// What the signs and words of a widget mean, behind a question mark.
import { h } from "../dom/dom";
import type { Part } from "./part";
import { Popup } from "./popup";
import { termsIn } from "./terms";

const WORDS = ".rw-head, .rw-say, .rw-side, [role=grid]";

export class Legend extends Popup {
  /** Signs are those that the parts have on show, words those on the page within `root`. */
  constructor(
    private readonly parts: readonly Part[],
    private readonly root: () => HTMLElement,
    signal: AbortSignal,
  ) {
    super("?", "rw-menu rw-legend", "dialog", "What the signs and words mean", signal);
    this.el.tabIndex = -1;
  }

  protected override open(): void {
    const said = Array.from(this.root().querySelectorAll(WORDS), (el) => `${el.textContent} ${el.ariaLabel ?? ""}`);
    const text = [...said, ...this.parts.map((part) => part.measured ?? "")].join(" ");
    const entries = [...this.parts.flatMap((part) => part.signs?.() ?? []), ...termsIn(text)];
    const items = entries.flatMap(([sign, meaning]) => [h("dt", "", {}, sign), h("dd", "", {}, meaning)]);
    this.el.replaceChildren(h("dl", "", {}, ...items));
    super.open();
    this.el.focus({ preventScroll: true });
  }
}

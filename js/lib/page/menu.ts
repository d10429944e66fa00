// A button that opens a short menu.
import { h } from "../dom/dom";
import { Popup } from "./popup";

export interface MenuItem {
  label: string;
  hint: string;
  act(): void;
}

export class Menu extends Popup {
  constructor(label: string, signal: AbortSignal) {
    super(label, "rw-menu", "menu", "", signal);
  }

  set(items: readonly MenuItem[]): void {
    this.el.replaceChildren(
      ...items.map(({ label, hint, act }) => {
        const item = h(
          "button",
          "rw-menu-item",
          { type: "button", role: "menuitem", tabindex: -1 },
          label,
          h("span", "rw-dim", {}, hint),
        );
        item.addEventListener("click", () => {
          this.close();
          this.button.focus();
          act();
        });
        return item;
      }),
    );
  }

  protected override open(): void {
    super.open();
    this.#items()[0]?.focus({ preventScroll: true });
  }

  #items = (): HTMLElement[] => [...this.el.querySelectorAll<HTMLElement>("[role=menuitem]")];

  protected override key(event: KeyboardEvent): void {
    super.key(event);
    const items = this.#items();
    const at = items.indexOf(event.target as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    items[(to + items.length) % items.length]?.focus();
    event.preventDefault();
  }
}

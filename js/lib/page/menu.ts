// A button that opens a short menu in the browser's top layer.
import { h } from "../dom/dom";

export interface MenuItem {
  label: string;
  hint: string;
  act(): void;
}

export class Menu {
  readonly button: HTMLButtonElement;
  readonly el = h("div", "rw-menu", { popover: "auto", role: "menu" });

  constructor(label: string, signal: AbortSignal) {
    this.button = h(
      "button",
      "rw-button",
      { type: "button", "aria-haspopup": "menu", "aria-expanded": "false" },
      label,
    );
    const on = { signal };
    this.button.addEventListener("click", () => this.#open(), on);
    this.el.addEventListener("keydown", (event) => this.#key(event), on);
    this.el.addEventListener(
      "toggle",
      (event) => this.button.setAttribute("aria-expanded", String((event as ToggleEvent).newState === "open")),
      on,
    );
    globalThis.addEventListener("scroll", () => this.#place(), { signal, capture: true, passive: true });
    signal.addEventListener("abort", () => this.#close());
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
          this.#close();
          this.button.focus();
          act();
        });
        return item;
      }),
    );
  }

  #open(): void {
    if (!this.el.isConnected || !this.el.showPopover) return;
    this.el.showPopover();
    this.#place();
    this.#items()[0]?.focus({ preventScroll: true });
  }

  /** By the button, also after a scroll: hosts scroll a cell into view because it was clicked. */
  #place(): void {
    if (!this.#isOpen) return;
    const button = this.button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.el;
    const below = button.bottom + 4;
    this.el.style.left = `${Math.max(4, Math.min(button.right, innerWidth - 4) - width)}px`;
    this.el.style.top = `${below + height > innerHeight ? Math.max(4, button.top - 4 - height) : below}px`;
  }

  get #isOpen(): boolean {
    return this.el.isConnected && this.el.matches(":popover-open");
  }

  #close(): void {
    if (this.#isOpen) this.el.hidePopover();
  }

  #items = (): HTMLElement[] => [...this.el.querySelectorAll<HTMLElement>("[role=menuitem]")];

  #key(event: KeyboardEvent): void {
    event.stopPropagation();
    const items = this.#items();
    const at = items.indexOf(event.target as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") {
      this.#close();
      this.button.focus();
    } else if (to === undefined) return;
    else items[(to + items.length) % items.length]?.focus();
    event.preventDefault();
  }
}

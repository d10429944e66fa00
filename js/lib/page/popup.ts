// A button that opens something in the browser's top layer, beside it.
import { h } from "../dom/dom";

export class Popup {
  readonly button: HTMLButtonElement;
  readonly el: HTMLElement;

  constructor(label: string, className: string, role: "menu" | "dialog", hint: string, signal: AbortSignal) {
    this.el = h("div", className, { popover: "auto", role, "aria-label": hint || null });
    const attributes = { type: "button", "aria-haspopup": role, "aria-expanded": "false", title: hint || null };
    this.button = h("button", "rw-button", attributes, label);
    this.button.addEventListener("click", () => this.open(), { signal });
    const toggled = (event: Event) =>
      this.button.setAttribute("aria-expanded", String((event as ToggleEvent).newState === "open"));
    this.el.addEventListener("toggle", toggled, { signal });
    this.el.addEventListener("keydown", (event) => this.key(event), { signal });
    globalThis.addEventListener("scroll", () => this.#place(), { signal, capture: true, passive: true });
    signal.addEventListener("abort", () => this.close());
  }

  protected open(): void {
    if (!this.el.isConnected || !this.el.showPopover) return;
    this.el.showPopover();
    this.#place();
  }

  protected close(): void {
    if (this.#isOpen) this.el.hidePopover();
  }

  /** A key was pressed within. */
  protected key(event: KeyboardEvent): void {
    event.stopPropagation();
    if (event.key !== "Escape" && event.key !== "Tab") return;
    this.close();
    this.button.focus();
    event.preventDefault();
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
}

// A button that gives the widget the whole screen; where the host does not allow that, the whole window.
import { h, setText } from "../dom/dom";

const WORDS = { false: ["Enlarge", "Use the whole screen"], true: ["Shrink", "Back to the page"] } as const;

export class Enlarge {
  readonly button = h("button", "rw-button", { type: "button" });

  /** @param target what is enlarged: asked for when it is needed, not before it is on the page */
  constructor(
    private readonly target: () => HTMLElement,
    signal: AbortSignal,
  ) {
    this.button.addEventListener("click", () => void this.#press(), { signal });
    document.addEventListener("fullscreenchange", () => this.#tell(), { signal });
    signal.addEventListener("abort", () => this.#shrink(this.target()));
    this.#say(false);
  }

  async #press(): Promise<void> {
    const el = this.target();
    if (isLarge(el)) this.#shrink(el);
    else
      try {
        await el.requestFullscreen();
      } catch {
        this.#overPage(el);
      }
    this.#tell();
  }

  /** Fill the window, above everything: frames that may not have the screen still have that. */
  #overPage(el: HTMLElement): void {
    el.setAttribute("popover", "manual");
    el.showPopover?.();
    el.addEventListener("keydown", this.#escape);
    el.querySelector<HTMLElement>("[tabindex='0'], button")?.focus();
  }

  readonly #escape = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    this.#shrink(this.target());
    this.#tell();
  };

  #shrink(el: HTMLElement): void {
    el.removeEventListener("keydown", this.#escape);
    el.removeAttribute("popover"); // which closes it
    if (el.matches(":fullscreen")) void document.exitFullscreen();
  }

  #tell(): void {
    const large = isLarge(this.target());
    this.#say(large);
    this.target().classList.toggle("rw-large", large);
  }

  #say(large: boolean): void {
    const [word, hint] = WORDS[`${large}`];
    setText(this.button, word);
    this.button.title = hint;
    this.button.setAttribute("aria-pressed", String(large));
  }
}

const isLarge = (el: HTMLElement): boolean => el.matches(":fullscreen") || el.hasAttribute("popover");

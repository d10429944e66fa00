// Buttons of the header that a widget has beside the common ones. Kept in place between updates, so that focus stays.
import { h, setText } from "../dom/dom";
import type { Action } from "../wire/model";
import { historyKey } from "./keyboard";

const SAID = 1500;
const SAYS = "Copied";

export class Actions {
  readonly el = h("div", "rw-actions-own");
  readonly #buttons = new Map<string, HTMLButtonElement>();
  #actions: readonly Action[] = [];

  constructor(
    private readonly act: (name: string) => void,
    private readonly failed: (text: string) => void,
    private readonly signal: AbortSignal,
  ) {}

  update(actions: readonly Action[], cut: boolean): void {
    this.#actions = actions;
    for (const action of actions) {
      const button = this.#buttons.get(action.name) ?? this.#make(action);
      button.disabled = !action.enabled || (cut && action.copies === null);
      button.title = action.hint;
      if (button.textContent !== SAYS) setText(button, action.label);
    }
    const wanted = actions.map((action) => this.#buttons.get(action.name)!);
    if (wanted.length !== this.el.children.length || wanted.some((button, i) => button !== this.el.children[i]))
      this.el.replaceChildren(...wanted);
  }

  /** Undo and redo by keys, wherever the focus is within `root`; in a line of text the browser has its own. */
  listen(root: HTMLElement): void {
    root.addEventListener("keydown", (event) => this.#key(event), { signal: this.signal });
  }

  #key(event: KeyboardEvent): void {
    const button = this.#buttons.get(historyKey(event) ?? "");
    if (!button?.isConnected || (event.target as Element).matches("input, textarea")) return;
    event.preventDefault();
    event.stopPropagation();
    button.click(); // one that is off does nothing
  }

  #make({ name, label }: Action): HTMLButtonElement {
    const button = h("button", "rw-button", { type: "button", name }, label);
    button.addEventListener("click", () => this.#press(name, button), { signal: this.signal });
    this.#buttons.set(name, button);
    return button;
  }

  #press(name: string, button: HTMLButtonElement): void {
    const action = this.#actions.find((each) => each.name === name);
    if (!action) return;
    if (action.copies === null) this.act(name);
    else
      copy(action.copies).then(
        () => {
          setText(button, SAYS);
          setTimeout(() => setText(button, action.label), SAID);
        },
        () => this.failed("The browser does not let this page use the clipboard. In Python: print(w.code())."),
      );
  }
}

/** Put a text on the clipboard; pages that are not served securely have only the old way. */
async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", "rw-hidden-text");
    area.value = text;
    document.body.append(area);
    area.select();
    // biome-ignore lint/suspicious/noExplicitAny: deprecated, and all there is on an insecure page
    const done = (document as any).execCommand("copy") as boolean;
    area.remove();
    if (!done) throw new Error("refused");
  }
}

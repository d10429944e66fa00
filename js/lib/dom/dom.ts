// Elements in one line. Strings become text nodes, never markup.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined>;

const FOCUSABLE = new Set(["button", "input", "select", "summary"]);

/** An element with a class, attributes (null and false are left out) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  if (className) el.className = className;
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false)
      el.setAttribute(name, value === true ? "" : String(value));
  // Notebook shortcuts ("D D" deletes a cell) must not fire from here. JupyterLab looks for this on the way up from
  // the focused element, and finds its own selectors first unless that element itself has it.
  if (FOCUSABLE.has(tag) || "tabindex" in attributes) el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && !!child));
  return el;
}

/** A token: monospace, and isolated so that right-to-left text cannot move what stands beside it. */
export const tokenSpan = (text: string): HTMLElement => h("bdi", "rw-token", { dir: "ltr" }, text);

/** Hide or show without touching the element's own display rule. */
export function toggle(el: HTMLElement, shown: boolean): void {
  if (el.hidden === shown) el.hidden = !shown;
}

/** Set text only where it differs, so that live regions do not speak twice. */
export function setText(el: HTMLElement, text: string): void {
  if (el.textContent !== text) el.textContent = text;
}

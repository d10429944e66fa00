// The tokens that are pinned, each with a button that takes it off, and one for all.
import { h, toggle, tokenSpan } from "../dom/dom";

export function fillPins(
  el: HTMLElement,
  tokens: readonly number[],
  text: (token: number) => string,
  unpin: (tokens: readonly number[]) => void,
): void {
  const pinned = [...tokens].sort((a, b) => a - b);
  const button = (label: string, name: string, off: readonly number[], style: string) => {
    const made = h("button", style, { type: "button", "aria-label": name, title: name }, label);
    made.addEventListener("click", () => unpin(off));
    return made;
  };
  const chips = pinned.map((token) => {
    const words = h("span", "", {}, tokenSpan(text(token)), h("span", "rw-dim", {}, ` ${token}`));
    return h("span", "rw-chip", {}, words, button("\u00d7", `Unpin ${text(token)}`, [token], "rw-off"));
  });
  el.replaceChildren(
    h("span", "rw-dim", {}, pinned.length > 1 ? `Sum of ${pinned.length} pinned:` : "Pinned:"),
    ...chips,
    button("Unpin all", "Unpin all", pinned, "rw-button rw-small"),
  );
  toggle(el, pinned.length > 0);
}

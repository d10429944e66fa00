// A saved notebook keeps a picture of the widget in an output of its own; it is hidden where the widget itself is shown.
import { h } from "../dom/dom";

/** Hide the kept picture of this name, whether it is on the page already or comes later. */
export function hideKept(name: string | undefined): void {
  const id = `rw-kept-${name}`;
  if (!name || !/^[0-9a-f]+$/.test(name) || document.getElementById(id)) return;
  const kept = `[data-rw-kept~="${name}"]`;
  // A rule each: a browser that does not know ":has" leaves out the second alone.
  const rules = [kept, `.jp-OutputArea-child:has(${kept})`].map((what) => `${what} { display: none !important; }`);
  document.head.append(h("style", "", { id }, rules.join("\n")));
}

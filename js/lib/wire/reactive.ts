// marimo runs the cells again that read a widget when its front-end writes a trait. Ours are written by Python alone, so
// what has come from there is handed back: the selection, which Python ignores, and which marimo takes for news.
import type { HostModel, Model } from "./model";

const HOST = "marimo-anywidget";

/** What a reactive host is told by: to be called with each trait that Python has written. */
export function reactive(model: HostModel, signal: AbortSignal): (trait: keyof Model) => void {
  let telling = false;
  const tell = () => {
    if (!signal.aborted) {
      model.set?.("selection", { ...model.get("selection") });
      model.save_changes?.();
    }
    telling = false; // what is told comes back as a change of its own
  };
  return (trait) => {
    if (telling || !(trait === "selection" || trait === "frame") || !globalThis.customElements?.get(HOST)) return;
    telling = true;
    setTimeout(tell); // after this turn, in which other traits may come
  };
}

// How a view of a model begins and ends: whatever ends it, nothing of it stays.
import type { HostModel, Model } from "../wire/model";

interface View {
  readonly root: HTMLElement;
  refresh(): void;
}

/** Make a view that lasts until the host's signal or the clean-up that is returned; its own signal then tells its parts. */
export function shown(signal: AbortSignal | undefined, make: (signal: AbortSignal) => View): () => void {
  const own = new AbortController();
  const view = make(own.signal);
  const close = () => {
    own.abort();
    view.root.remove();
  };
  signal?.addEventListener("abort", close, { once: true });
  view.refresh();
  return close;
}

const TRAITS: readonly (keyof Model)[] = [
  "frame",
  "selection",
  "details",
  "controls",
  "summary",
  "actions",
  "edited",
  "inner",
  "status",
  "offline",
  "planes",
];

/** Call `changed` with the name of each trait that is written, until the signal. */
export function followTraits(
  model: Pick<HostModel, "on" | "off">,
  changed: (trait: keyof Model) => void,
  signal: AbortSignal,
): void {
  for (const trait of TRAITS) {
    const told = () => changed(trait);
    model.on(`change:${trait}`, told);
    signal.addEventListener("abort", () => model.off(`change:${trait}`, told));
  }
}

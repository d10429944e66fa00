// The host of an exported page: a model with no kernel, made from what the page carries. See README, "Exported page".
import type { HostModel, Model } from "./lib/wire/model";
import { revive } from "./lib/wire/wire";

type Listener = (...args: unknown[]) => void;

interface OfflineModel extends HostModel {
  set(name: string, value: unknown): void;
  save_changes(): void;
}

/** A model that only this page knows: reads and local changes work, messages go nowhere. */
function offlineModel(state: Record<string, unknown>): OfflineModel {
  const values = new Map(Object.entries(state));
  const listeners = new Map<string, Set<Listener>>();
  return {
    get: (name) => values.get(name) as Model[typeof name],
    set(name, value) {
      values.set(name, value);
      for (const listener of listeners.get(`change:${name}`) ?? []) listener();
    },
    on: (event, callback) => void listeners.set(event, (listeners.get(event) ?? new Set()).add(callback as Listener)),
    off: (event, callback) => void listeners.get(event)?.delete(callback as Listener),
    send: () => undefined,
    save_changes: () => undefined,
  };
}

const read = (id: string): unknown => JSON.parse(document.getElementById(id)?.textContent ?? "null");

async function start(): Promise<void> {
  const root = document.getElementById("rw-root");
  if (!root) return;
  const url = URL.createObjectURL(new Blob([String(read("rw-esm"))], { type: "text/javascript" }));
  try {
    const widget = (await import(url)).default;
    const model = offlineModel(revive(read("rw-state")) as Record<string, unknown>);
    await widget.render({ model, el: root, signal: new AbortController().signal });
  } catch (error) {
    root.textContent = `This page could not start: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    URL.revokeObjectURL(url);
  }
}

void start();

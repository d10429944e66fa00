// Keys to actions in a tree of rows: arrows move, open and close, Enter acts, Esc resets.
import type { KeyPress } from "../page/keyboard";
import type { Shown } from "./waterfall_layout";

export type TreeAction =
  | { kind: "move"; to: string }
  | { kind: "toggle"; open: boolean }
  | { kind: "act" }
  | { kind: "select" }
  | { kind: "reset" };

const PAGE = 10;

/** What a key does at a row, or null where it is not ours. */
export function treeKey(press: KeyPress, rows: readonly Shown[], at: Shown): TreeAction | null {
  if (press.altKey || press.metaKey || press.ctrlKey) return null;
  const place = rows.indexOf(at);
  const go = (to: number): TreeAction => ({ kind: "move", to: rows[Math.max(0, Math.min(rows.length - 1, to))]!.key });
  switch (press.key) {
    case "ArrowUp":
      return go(place - 1);
    case "ArrowDown":
      return go(place + 1);
    case "ArrowRight":
      if (at.opens && !at.open) return { kind: "toggle", open: true };
      return rows[place + 1]?.parent === at.key ? go(place + 1) : go(place);
    case "ArrowLeft":
      if (at.open) return { kind: "toggle", open: false };
      return go(at.parent === null ? place : rows.findIndex(({ key }) => key === at.parent));
    case "Home":
      return go(0);
    case "End":
      return go(rows.length - 1);
    case "PageUp":
      return go(place - PAGE);
    case "PageDown":
      return go(place + PAGE);
    case "Enter":
      return { kind: "act" };
    case " ":
      return { kind: "select" };
    case "Escape":
      return { kind: "reset" };
    default:
      return null;
  }
}

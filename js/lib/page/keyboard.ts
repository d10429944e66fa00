// Keys to actions: a pure reducer over the cursor. One tab stop; arrows move, Enter acts, Esc resets.
import type { Cell } from "../canvas/layout";

export type KeyAction =
  | { kind: "move"; to: Cell }
  | { kind: "select" }
  | { kind: "reset" }
  | { kind: "zoom"; by: "in" | "out" | "auto" };

export interface KeyPress {
  key: string;
  ctrlKey?: boolean;
  metaKey?: boolean;
  altKey?: boolean;
  shiftKey?: boolean;
}

export interface KeyField {
  rows: number;
  cols: number;
  /** Columns that the window shows at once: what Ctrl+Left and Ctrl+Right go by. */
  page: number;
  cursor: Cell | null;
}

/** The action of the header that a key stands for: Ctrl or Cmd with Z takes back, with Shift too, or with Y, does again. */
export function historyKey(press: KeyPress): "undo" | "redo" | null {
  if (press.altKey || !(press.ctrlKey || press.metaKey)) return null;
  const key = press.key.toLowerCase();
  if (key === "z") return press.shiftKey ? "redo" : "undo";
  return key === "y" && !press.shiftKey ? "redo" : null;
}

/** Rows that PageUp and PageDown go by. */
export const PAGE_ROWS = 10;

/** What a key does, or null where it is not ours and belongs to the page. Row 0 is the lowest: Up adds. */
export function keyAction(press: KeyPress, field: KeyField): KeyAction | null {
  const { rows, cols } = field;
  if (press.altKey || press.metaKey || rows < 1 || cols < 1) return null;
  const jump = press.ctrlKey ?? false;
  const from = field.cursor;
  // The first move of a cursor that is nowhere shows it in the upper left corner; any other key starts from there.
  const { row, col } = from ?? { row: rows - 1, col: 0 };
  const across = jump ? Math.max(1, field.page) : 1;
  const top = rows - 1;
  const end = cols - 1;
  const go = (r: number, c: number): KeyAction => ({
    kind: "move",
    to: { row: Math.max(0, Math.min(top, r)), col: Math.max(0, Math.min(end, c)) },
  });
  const arrow = (r: number, c: number): KeyAction => (from ? go(r, c) : go(row, col));
  switch (press.key) {
    case "ArrowUp":
      return arrow(jump ? top : row + 1, col);
    case "ArrowDown":
      return arrow(jump ? 0 : row - 1, col);
    case "ArrowLeft":
      return arrow(row, col - across);
    case "ArrowRight":
      return arrow(row, col + across);
    case "Home":
      return go(jump ? top : row, 0);
    case "End":
      return go(jump ? 0 : row, end);
    case "PageUp":
      return go(row + PAGE_ROWS, col);
    case "PageDown":
      return go(row - PAGE_ROWS, col);
  }
  if (jump) return null;
  switch (press.key) {
    case "Enter":
    case " ":
      return from ? { kind: "select" } : go(row, col);
    case "Escape":
      return { kind: "reset" };
    case "+":
    case "=":
      return { kind: "zoom", by: "in" };
    case "-":
      return { kind: "zoom", by: "out" };
    case "0":
      return { kind: "zoom", by: "auto" };
    default:
      return null;
  }
}

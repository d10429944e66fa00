// The grid as assistive technology meets it: one row and one cell stand for all, those under the cursor.
import type { Cell, Layout } from "../canvas/layout";
import { h, setText } from "../dom/dom";
import { spoken } from "../page/facts";
import type { Grid } from "../wire/grid";
import { facts } from "./cell_facts";

export class SpokenGrid {
  readonly live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  readonly #row = h("div", "rw-spacer", { role: "row" });
  readonly #current = h("div", "rw-hidden-text", { role: "gridcell" });

  constructor(private readonly el: HTMLElement) {
    this.#row.append(this.#current);
    el.append(this.#row);
  }

  /** The row lies over the cells, where whoever asks the page for the grid's place finds it. */
  place(grid: Grid, title: string, at: Layout): void {
    Object.assign(this.#row.style, {
      width: `${at.content}px`,
      height: `${at.view.h}px`,
      marginTop: `${at.view.y}px`,
    });
    this.el.setAttribute("aria-rowcount", String(grid.rows));
    this.el.setAttribute("aria-colcount", String(grid.cols));
    const { row_name, column_name } = grid.data;
    this.el.setAttribute("aria-label", `${title}: ${row_name} by ${column_name ?? "token"}`);
  }

  say(grid: Grid, cell: Cell, selected: boolean): void {
    const text = spoken(facts(grid, cell), selected);
    setText(this.live, text);
    setText(this.#current, text);
    this.#row.setAttribute("aria-rowindex", String(grid.rows - cell.row));
    this.#current.setAttribute("aria-colindex", String(cell.col + 1));
    this.#current.setAttribute("aria-selected", String(selected));
  }
}

// All neurons as a table: searched by number or token, in order of any column, a page of rows at a time.

import type { Cell } from "../canvas/layout";
import { numberText } from "../canvas/number";
import { printable } from "../canvas/text";
import { h, setText, toggle, tokenSpan } from "../dom/dom";
import type { Chosen, Grid } from "../wire/grid";
import type { TableData } from "../wire/model";
import { uint32 } from "../wire/wire";

const PAGE = 100;

interface Column {
  label: string;
  values: Float32Array;
}

/** "3.328": layer and neuron. */
const nameOf = (grid: Grid, cell: number): string =>
  `${grid.data.rows[Math.floor(cell / grid.cols)]}.${grid.data.tokens[cell % grid.cols]}`;

/** Cells in order of a column; what is not finite comes last, whichever way. */
export function ordered(values: Float32Array, descending: boolean): Uint32Array {
  const size = (cell: number) => (Number.isFinite(values[cell]) ? sign * values[cell]! : Number.POSITIVE_INFINITY);
  const sign = descending ? -1 : 1;
  // Two infinities differ by NaN, which counts as no difference.
  return Uint32Array.from(values, (_, cell) => cell).sort((a, b) => size(a) - size(b) || a - b);
}

/** Whether a neuron is meant by what was typed: a number or "layer.neuron" from its start, else a piece of a token. */
export function matches(name: string, words: string, typed: string): boolean {
  const wanted = typed.trim().toLowerCase();
  if (/^\d+\.\d*$/.test(wanted)) return name.startsWith(wanted);
  if (/^\d+$/.test(wanted)) return name.split(".")[1] === wanted || words.includes(wanted);
  return words.toLowerCase().includes(typed.toLowerCase().replaceAll(" ", "\u00b7").trim());
}

export class NeuronTable {
  readonly el: HTMLElement;
  readonly #search = h("input", "rw-field", {
    type: "search",
    name: "search",
    placeholder: "number or token",
  });
  readonly #count = h("span", "rw-dim", { "aria-live": "polite" });
  readonly #head = h("tr");
  readonly #body = h("tbody");
  readonly #more = h("button", "rw-button rw-small", { type: "button" }, "More rows");
  readonly #scroll: HTMLElement;
  #grid: Grid | null = null;
  #words: { column: string; of(cell: number): string } = { column: "", of: () => "" };
  #selected: Chosen = { row: null, col: null };
  #by = 0;
  #descending = true;
  #order: Uint32Array = new Uint32Array();
  #found: number[] = [];
  #rows = PAGE;

  constructor(
    private readonly select: (grid: Grid, cell: Cell) => void,
    signal: AbortSignal,
  ) {
    const table = h("table", "rw-table", {}, h("thead", "", {}, this.#head), this.#body);
    this.#scroll = h("div", "rw-table-scroll", {}, table, this.#more);
    const label = h("label", "rw-control", {}, h("span", "", {}, "search"), this.#search);
    this.el = h("div", "rw-table-box", {}, h("div", "rw-context-head", {}, label, this.#count), this.#scroll);
    const on = { signal };
    label.addEventListener("keydown", (event) => this.#searchKey(event), on);
    this.#search.addEventListener("input", () => this.#filter(), on);
    const grow = () => {
      this.#rows += PAGE;
      this.#fill();
    };
    this.#more.addEventListener("click", grow, on);
    this.#head.addEventListener("click", (event) => this.#sortBy(event), on);
    this.#body.addEventListener("click", (event) => this.#choose(rowOf(event)), on);
    this.#body.addEventListener("keydown", (event) => this.#key(event), on);
  }

  show(grid: Grid, { column, strings, index }: TableData, selected: Chosen): void {
    const moved = selected.row !== this.#selected.row || selected.col !== this.#selected.col;
    this.#selected = selected;
    if (grid !== this.#grid) {
      this.#grid = grid;
      const places = uint32(index, grid.values.length, "words");
      this.#words = { column, of: (cell) => strings[places[cell]!] ?? "" };
      this.#start();
    } else if (moved) this.#mark();
  }

  /** Back to the picture's own order, all rows. */
  reset(): void {
    this.#search.value = "";
    this.#start();
  }

  /** The picture's own number, then the further ones. */
  #columns(grid: Grid): Column[] {
    return [{ label: this.#words.column, values: grid.values }, ...grid.also];
  }

  #start(): void {
    this.#by = 0;
    this.#descending = true;
    this.#sort();
  }

  #sort(): void {
    const grid = this.#grid;
    if (!grid) return;
    const columns = this.#columns(grid);
    this.#order = ordered(columns[this.#by]!.values, this.#descending);
    this.#head.replaceChildren(
      h("th", "", { scope: "col" }, "neuron"),
      h("th", "", { scope: "col" }, "most active at"),
      ...columns.map(({ label }, i) => this.#heading(label, i)),
    );
    this.#filter();
  }

  #heading(label: string, column: number): HTMLElement {
    const way = this.#descending ? "descending" : "ascending";
    const by = column === this.#by;
    const arrow = by && (this.#descending ? " \u2193" : " \u2191");
    const button = h("button", "rw-sort", { type: "button" }, printable(label), arrow);
    return h("th", "", { scope: "col", "aria-sort": by ? way : "none" }, button);
  }

  #sortBy(event: Event): void {
    const column = this.#buttons.indexOf((event.target as Element).closest("button")!);
    if (column < 0) return;
    this.#descending = column !== this.#by || !this.#descending;
    this.#by = column;
    this.#sort();
    this.#buttons[column]!.focus();
  }

  get #buttons(): HTMLButtonElement[] {
    return [...this.#head.querySelectorAll("button")];
  }

  #filter(): void {
    const grid = this.#grid;
    if (!grid) return;
    const typed = this.#search.value;
    this.#found = typed.trim()
      ? [...this.#order].filter((cell) => matches(nameOf(grid, cell), this.#words.of(cell), typed))
      : [...this.#order];
    this.#rows = PAGE;
    const total = this.#order.length.toLocaleString("en-US");
    setText(
      this.#count,
      typed.trim() ? `${this.#found.length.toLocaleString("en-US")} of ${total}` : `${total} neurons`,
    );
    this.#body.replaceChildren();
    this.#scroll.scrollTop = 0;
    this.#fill();
  }

  /** Append the rows that are not there yet. */
  #fill(): void {
    const grid = this.#grid;
    if (!grid) return;
    const columns = this.#columns(grid);
    for (const cell of this.#found.slice(this.#body.children.length, this.#rows)) {
      const words = tokenSpan(printable(this.#words.of(cell)));
      words.title = words.textContent ?? "";
      this.#body.append(
        h(
          "tr",
          "",
          { tabindex: -1, "data-cell": cell },
          h("th", "rw-number", { scope: "row" }, nameOf(grid, cell)),
          h("td", "rw-words", {}, words),
          ...columns.map(({ values }) => h("td", "rw-number", {}, numberText(values[cell]!))),
        ),
      );
    }
    toggle(this.#more, this.#found.length > this.#body.children.length);
    this.#mark();
  }

  /** Show which row is selected; one row can be reached with Tab. */
  #mark(): void {
    const { row, col } = this.#selected;
    const at = row === null || col === null || !this.#grid ? -1 : row * this.#grid.cols + col;
    let reachable: HTMLElement | null = null;
    for (const each of this.#body.children as HTMLCollectionOf<HTMLElement>) {
      const here = Number(each.dataset.cell) === at;
      each.setAttribute("aria-selected", String(here));
      each.tabIndex = -1;
      if (here) reachable = each;
    }
    reachable ??= this.#body.firstElementChild as HTMLElement | null;
    if (reachable) reachable.tabIndex = 0;
    if (reachable?.getAttribute("aria-selected") === "true") this.#reveal(reachable);
  }

  /** Scroll the table, and nothing but the table, to a row. */
  #reveal({ offsetTop: top, offsetHeight: height }: HTMLElement): void {
    const { scrollTop, clientHeight } = this.#scroll;
    // The head sticks to the upper edge and hides as much as a row.
    this.#scroll.scrollTop = Math.max(Math.min(scrollTop, top - height), top + height - clientHeight);
  }

  #choose(row: HTMLElement | null): void {
    const cell = Number(row?.dataset.cell);
    if (!row || !this.#grid || Number.isNaN(cell)) return;
    this.select(this.#grid, { row: Math.floor(cell / this.#grid.cols), col: cell % this.#grid.cols });
  }

  #key(event: KeyboardEvent): void {
    const row = rowOf(event);
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = {
      ArrowDown: row.nextElementSibling,
      ArrowUp: row.previousElementSibling,
    }[event.key] as HTMLElement | null | undefined;
    if (event.key === "Enter" || event.key === " ") this.#choose(row);
    else if (to === undefined) return;
    else to?.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  #searchKey(event: KeyboardEvent): void {
    event.stopPropagation(); // notebook shortcuts must not see what is typed
    if (event.key === "Escape" && this.#search.value) {
      this.#search.value = "";
      this.#filter();
    } else if (event.key === "ArrowDown") (this.#body.firstElementChild as HTMLElement | null)?.focus();
    else if (event.key === "Enter") this.#choose(this.#body.firstElementChild as HTMLElement | null);
  }
}

const rowOf = (event: Event): HTMLElement | null => (event.target as Element).closest<HTMLElement>("tr[data-cell]");

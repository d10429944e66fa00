// Below the picture of all neurons: a table of them and, for the selected one, histogram and contexts.
import "./neurons.css";
import { h, toggle } from "../dom/dom";
import { dataOf, type MakePart } from "../page/part";
import { addressOf, chosenIn, gridOf } from "../wire/grid";
import type { HeatmapData, NeuronDetails, TableData } from "../wire/model";
import { Contexts, effects } from "./contexts";
import { Histogram, type Range } from "./histogram";
import { NeuronTable } from "./neuron_table";

export const neurons: MakePart = ({ select, signal }, name) => {
  const table = new NeuronTable((grid, cell) => select(addressOf(grid, cell)), signal);
  const contexts = new Contexts(() => histogram.clear(), signal);
  const histogram = new Histogram((range: Range | null) => contexts.between(range), signal);
  const blank = h("div", "rw-dim rw-line");
  const about = h("div", "rw-neuron", {}, blank, histogram.el, contexts.el);
  const el = h("div", "rw-neurons", {}, table.el, about);
  let neuron: NeuronDetails | null = null;
  let shown: NeuronDetails | null = null;
  return {
    el,
    reset() {
      table.reset();
      histogram.clear();
    },
    refresh({ frame, selection, details, cut }) {
      const data = dataOf<HeatmapData>(frame, "heatmap"); // the table is of the same cells
      const words = dataOf<TableData>(frame, name);
      const grid = data && gridOf(data);
      const selected = chosenIn(grid, selection);
      if (grid && words) table.show(grid, words, selected);
      neuron = details()?.neuron ?? null;
      for (const part of [histogram.el, contexts.el]) toggle(part, neuron !== null);
      toggle(blank, neuron === null);
      blank.textContent =
        selected.row === null || selected.col === null
          ? "Click a cell, or a row of the table."
          : cut
            ? "The contexts of this neuron need Python."
            : "Contexts are on their way\u2026";
      if (neuron !== null && neuron !== shown) {
        histogram.show(neuron);
        contexts.show(neuron);
        shown = neuron;
      }
    },
    more: () => (neuron ? effects(neuron) : []),
  };
};

// Below the picture of all neurons: a table of them and, for the selected one, histogram and contexts.
import "./neurons.css";
import { h, toggle } from "../dom/dom";
import type { NeuronDetails } from "../wire/model";
import { Contexts, effects } from "./contexts";
import type { MakePart } from "./heatmap";
import { Histogram, type Range } from "./histogram";
import { NeuronTable } from "./neuron_table";

export const neuronPart: MakePart = (select, signal) => {
  const table = new NeuronTable(select, signal);
  const contexts = new Contexts(() => histogram.clear(), signal);
  const histogram = new Histogram((range: Range | null) => contexts.between(range), signal);
  const blank = h("div", "rw-dim rw-line");
  const about = h("div", "rw-neuron", {}, blank, histogram.el, contexts.el);
  const el = h("div", "rw-neurons", {}, table.el, about);
  let shown: NeuronDetails | null = null;
  return {
    el,
    reset() {
      table.reset();
      histogram.clear();
    },
    refresh({ grid, selected, details, cut }) {
      table.show(grid, selected);
      const neuron = details?.neuron ?? null;
      for (const part of [histogram.el, contexts.el]) toggle(part, neuron !== null);
      toggle(blank, neuron === null);
      blank.textContent =
        selected.row === null || selected.col === null
          ? "Click a cell, or a row of the table."
          : cut
            ? "The contexts of this neuron need Python."
            : "Contexts are on their way\u2026";
      if (neuron === null) return [];
      if (neuron !== shown) {
        histogram.show(neuron);
        contexts.show(neuron);
      }
      shown = neuron;
      return effects(neuron);
    },
  };
};

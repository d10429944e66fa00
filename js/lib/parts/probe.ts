// What stands behind one layer of a probe: numbers, confusions, the hardest samples, and the causal test.
import "./neurons.css";
import "./probe.css";
import { printable } from "../canvas/text";
import { h, setText, toggle } from "../dom/dom";
import { dataOf, type MakePart } from "../page/part";
import { causal, confusion, hardest, numbers, type ProbeData } from "./probe_parts";

/** Confusions of more classes take the whole width. */
const NARROW = 3;

export const probe: MakePart = (_, name) => {
  const empty = h("div", "rw-dim rw-line");
  const heading = h("div", "rw-probe-heading");
  const body = h("div", "rw-probe-body");
  const hint = h("div", "rw-dim rw-line");
  const test = h("div", "rw-causal");
  const el = h("div", "rw-probe", {}, empty, heading, body, hint, test);
  let shown: ProbeData | null = null;

  function fill(data: ProbeData): void {
    setText(empty, data.empty);
    setText(heading, printable(data.heading));
    setText(hint, printable(data.hint));
    toggle(empty, data.empty !== "");
    toggle(hint, data.hint !== "");
    for (const part of [heading, body, test]) toggle(part, data.empty === "");
    if (data.empty) return;
    const table = data.confusion && confusion(data.confusion);
    const wide = (data.confusion?.classes.length ?? 0) > NARROW;
    body.replaceChildren(h("div", "", {}, numbers(data.rows), !wide && table), hardest(data.hardest));
    if (wide && table) {
      table.className = "rw-wide";
      body.append(table);
    }
    test.replaceChildren(...(data.causal ? causal(data.causal) : []));
  }

  return {
    el,
    reset() {},
    refresh({ frame }) {
      const data = dataOf<ProbeData>(frame, name);
      if (data && data !== shown) fill(data);
      shown = data;
    },
  };
};

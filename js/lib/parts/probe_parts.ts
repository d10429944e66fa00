// What a probe says of one layer, as elements: numbers, confusions, the hardest samples, the causal test.

import { printable } from "../canvas/text";
import { h, tokenSpan } from "../dom/dom";
import { ellipsis } from "./contexts";

/** A sample that the probe gets wrong: a piece of its prompt, its token on the colour of the score. */
export interface Sample {
  label: string;
  predicted: string;
  score: string;
  /** From -1 (surely another class) to 1 (surely this class). */
  share: number | null;
  tokens: string[];
  /** Place of the sample's token in `tokens`. */
  center: number;
  /** Whether the prompt goes on before and after. */
  cut: [boolean, boolean];
  title: string;
}

/** One intervention of the causal test; sizes are in the metric's unit. */
export interface Effect {
  name: string;
  probe: number;
  random: number;
  random_high: number;
  /** The two sizes as text. */
  told: [string, string];
}

export interface ProbeData {
  /** In place of everything else: what to do first. */
  empty: string;
  /** What it is of. */
  heading: string;
  rows: { label: string; value: string }[];
  confusion: { classes: string[]; counts: string[][]; shares: number[][] } | null;
  hardest: Sample[];
  /** What the causal test is, or why there is none. */
  hint: string;
  causal: { verdict: string; unit: string; effects: Effect[] } | null;
}

export const numbers = (rows: ProbeData["rows"]): HTMLElement =>
  h(
    "div",
    "rw-rows",
    {},
    ...rows.map(({ label, value }) =>
      h("div", "rw-row", {}, h("span", "rw-dim", {}, label), h("span", "rw-number", {}, printable(value))),
    ),
  );

/** Rows are true classes, columns what the probe said; the ground is the share of the row. */
export function confusion({ classes, counts, shares }: NonNullable<ProbeData["confusion"]>): HTMLElement {
  const name = (text: string) => {
    const el = tokenSpan(printable(text));
    el.title = printable(text);
    return el;
  };
  const head = h(
    "tr",
    "",
    {},
    h("th", "rw-dim", { scope: "col" }, "true ↓ · predicted →"),
    ...classes.map((text) => h("th", "", { scope: "col" }, name(text))),
  );
  const rows = classes.map((text, i) =>
    h(
      "tr",
      "",
      {},
      h("th", "", { scope: "row" }, name(text)),
      ...(counts[i] ?? []).map((count, j) => {
        const share = shares[i]?.[j] ?? 0;
        const cell = h(
          "td",
          `rw-number${i === j ? " rw-right" : " rw-wrong"}`,
          { title: `${Math.round(100 * share)} % of the row` },
          count,
        );
        cell.style.setProperty("--rw-share", String(share));
        return cell;
      }),
    ),
  );
  const table = h("table", "rw-table rw-confusion", {}, h("thead", "", {}, head), h("tbody", "", {}, ...rows));
  return h(
    "div",
    "",
    {},
    h("div", "rw-heading", {}, "Confusions ", h("span", "rw-dim", {}, "held-out samples, mean over seeds")),
    h("div", "rw-confusion-scroll", { tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, table),
  );
}

export function hardest(samples: readonly Sample[]): HTMLElement {
  const list = h("div", "rw-contexts", { role: "list", "aria-label": "Hardest samples" });
  for (const { label, predicted, score, share, tokens, center, cut, title } of samples) {
    const text = h("span", "rw-context-text", {}, cut[0] && ellipsis());
    tokens.forEach((token, i) => {
      const el = tokenSpan(printable(token));
      if (i === center) {
        el.classList.add("rw-center", (share ?? 0) < 0 ? "rw-above" : "rw-below"); // red is wrong
        el.style.setProperty("--rw-share", String(Math.min(1, Math.abs(share ?? 0))));
      }
      text.append(el);
    });
    if (cut[1]) text.append(ellipsis());
    list.append(
      h(
        "div",
        "rw-context rw-sample",
        { role: "listitem", title: printable(title) },
        h("span", "rw-number rw-dim", {}, score),
        text,
        h(
          "span",
          "rw-dim rw-said",
          {},
          "true ",
          tokenSpan(printable(label)),
          ", predicted ",
          tokenSpan(printable(predicted)),
        ),
      ),
    );
  }
  return h(
    "div",
    "",
    {},
    h(
      "div",
      "rw-heading",
      {},
      "Hardest samples ",
      h("span", "rw-dim", {}, samples.length ? "score of the true class first, worst on top" : "none are known"),
    ),
    list,
  );
}

/** How far the output moves: the probe's direction beside random ones, with the range of one more random one. */
export function causal({ verdict, unit, effects }: NonNullable<ProbeData["causal"]>): HTMLElement[] {
  const size = Math.max(...effects.flatMap((effect) => [effect.probe, effect.random, effect.random_high])) || 1;
  const lane = (name: string, value: number, told: string, until?: number) => {
    const bar = h("span", `rw-bar${until === undefined ? "" : " rw-was"}`);
    bar.style.setProperty("--rw-share", String(value / size));
    const end =
      until === undefined
        ? null
        : h("span", "rw-until", { title: "Upper end of the range in which 95\u00a0% of random directions lie" });
    end?.style.setProperty("--rw-share", String(until! / size));
    return h(
      "div",
      "rw-bar-row rw-effect",
      { role: "listitem" },
      h("span", "rw-dim", {}, name),
      h("span", "rw-bar-lane", { "aria-hidden": "true" }, bar, end),
      h("span", "rw-number", {}, told),
    );
  };
  const parts = effects.map((effect) => {
    const [probe, random] = effect.told;
    return h(
      "div",
      "",
      {},
      h("div", "rw-line", {}, effect.name),
      h(
        "div",
        "rw-bars",
        { role: "list" },
        lane("probe", effect.probe, probe),
        lane("random", effect.random, random, effect.random_high),
      ),
    );
  });
  return [
    h("div", "rw-verdict", { role: "status" }, printable(verdict)),
    h(
      "div",
      "rw-dim rw-line",
      {},
      `Mean size of the change in the ${printable(unit)}. The mark is the upper end of the range in which 95\u00a0% of random directions lie.`,
    ),
    h("div", "rw-causal-effects", {}, ...parts),
  ];
}

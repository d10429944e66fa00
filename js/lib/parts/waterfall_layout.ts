// Bars of a waterfall as numbers: which are on show, the scale they share, where they begin and end, and as a table.
import { numberText } from "../canvas/number";
import { printable } from "../canvas/text";
import type { Address } from "../wire/model";

/** One bar. What it consists of follows it, one deeper. */
export interface Bar {
  key: string;
  name: string;
  /** Where it is, what it is, and more. */
  told: [string, string, string];
  at: Address;
  depth: number;
  value: number;
  /** Where it begins in a waterfall. */
  start: number;
  /** 95 % interval of the value, over prompts. */
  low: number | null;
  high: number | null;
  /** Whether it can be opened: with what is at hand, or by Python. */
  opens: "" | "known" | "ask";
}

export interface WaterfallData {
  label: string;
  units: string;
  shape: "waterfall" | "bars";
  /** Over how many prompts bars are means. */
  prompts: number;
  /** From the top down; the last one is the total. */
  bars: Bar[];
}

/** A bar on show, from `from` to `to` in the numbers' own unit. */
export interface Shown extends Bar {
  open: boolean;
  from: number;
  to: number;
  parent: string | null;
  /** Its place among those it stands beside, from 1, and how many these are. */
  place: number;
  siblings: number;
}

/** The bars that are not within a closed one. */
export function visible({ bars, shape }: WaterfallData, opened: ReadonlySet<string>): Shown[] {
  const out: Shown[] = [];
  const above: Shown[] = [];
  for (const bar of bars) {
    above.length = Math.min(above.length, bar.depth);
    if (above.length < bar.depth || above.some(({ open }) => !open)) continue;
    const from = shape === "bars" ? 0 : bar.start;
    const parent = above.at(-1)?.key ?? null;
    const open = bar.opens !== "" && opened.has(bar.key);
    const shown: Shown = { ...bar, open, from, to: from + bar.value, parent, place: 0, siblings: 0 };
    out.push(shown);
    above.push(shown);
  }
  for (const bar of out) {
    const beside = out.filter(({ parent }) => parent === bar.parent);
    bar.place = beside.indexOf(bar) + 1;
    bar.siblings = beside.length;
  }
  return out;
}

/** Whether what is in an open bar is here. */
export const arrived = (bars: readonly Shown[], { key }: Shown): boolean => bars.some(({ parent }) => parent === key);

/** Ends of the whisker at a bar's end. */
export const whisker = ({ from, low, high }: Shown): [number, number] | null =>
  low === null || high === null ? null : [from + low, from + high];

/** Lower and upper end of the scale: zero, all bars and all whiskers are on it. */
export function domain(bars: readonly Shown[]): [number, number] {
  const ends = bars.flatMap((bar) => [bar.from, bar.to, ...(whisker(bar) ?? [])]).filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  return low < high ? [low, high] : [0, 1];
}

/** Round numbers from one end of a scale to the other, about `wanted` of them. */
export function ticks([low, high]: readonly [number, number], wanted: number): number[] {
  const rough = (high - low) / Math.max(1, wanted) / 1.5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((n) => n * power >= rough * 0.999) ?? 10) * power;
  const out: number[] = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) out.push(n * step || 0);
  return out;
}

/** Where one bar ends and the next one beside it begins, as [x, upper row, lower row]. None in bars from zero. */
export function joints(bars: readonly Shown[], shape: WaterfallData["shape"]): [number, number, number][] {
  if (shape === "bars") return [];
  const out: [number, number, number][] = [];
  bars.forEach((bar, row) => {
    const next = bars.findIndex((other, n) => n > row && other.parent === bar.parent);
    if (next > 0) out.push([bar.to, row, next]);
  });
  return out;
}

/** One contribution alone. */
export const signed = (value: number): string => (value > 0 ? "+" : "") + numberText(value, 4);

/** How contributions are written beside each other: with a sign, to about a thousandth of the largest of them. */
export function signedIn(bars: readonly { value: number }[]): (value: number) => string {
  const most = Math.max(...bars.map(({ value }) => Math.abs(value)).filter(Number.isFinite), 0);
  const least = most < 100 ? 2 : most < 1000 ? 1 : 0;
  const digits = most > 0 ? Math.max(least, Math.min(9, 2 - Math.floor(Math.log10(most)))) : 2;
  return (value) => {
    const text = value.toFixed(digits).replace("-", "\u2212");
    const none = Number(value.toFixed(digits)) === 0;
    return none ? text.replace("\u2212", "") : value > 0 ? `+${text}` : text;
  };
}

/** Of those on show the bar that says most of an address, or nothing. */
export function selected(bars: readonly Shown[], at: Address): Shown | null {
  let best: Shown | null = null;
  for (const bar of bars) {
    const names = Object.keys(bar.at);
    if (!names.length || !names.every((name) => at[name] === bar.at[name])) continue;
    if (names.length >= Object.keys(best?.at ?? {}).length) best = bar;
  }
  return best;
}

const field = (value: string): string => (/[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);

export function waterfallCsv({ units }: WaterfallData, bars: readonly Shown[]): string {
  const lines = bars.map(({ key, name, depth, value, start, low, high }) =>
    [field(key), field(printable(name)), depth, value, start, low ?? "", high ?? ""].join(","),
  );
  return `${[`part,name,depth,${field(units ? `value (${units})` : "value")},start,low,high`, ...lines].join("\n")}\n`;
}

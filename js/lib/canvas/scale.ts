// Values to colours: a table of 256 steps, plus colours of their own for below, above and not-a-number.
// (d3-array's ticks are those of d3-scale, whose whole package would weigh more than this widget.)
import { ticks as roundNumbers } from "d3-array";
import { interpolateViridis } from "d3-scale-chromatic";
import type { Scale } from "../wire/model";
import { tickText } from "./number";

export const STEPS = 256;
/** Table places after the steps: an unusual value is never painted as an ordinary one. */
export const UNDER = STEPS;
export const OVER = STEPS + 1;
export const BAD = STEPS + 2;

/** As in the colour limits themselves: a limit is interpolated and may miss its own cell by rounding. */
const TOLERANCE = 1e-6;

type Rgb = readonly [number, number, number];

export interface Palette {
  /** One RGBA pixel for each place, in the byte order of ImageData. */
  pixels: Uint32Array;
  css: string[];
  /** Whether dark ink reads better than light ink on that colour. */
  darkInk: boolean[];
}

/** "#rrggbb". */
const parse = (hex: string): Rgb => [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb;

const mix = (a: Rgb, b: Rgb, t: number): Rgb => [0, 1, 2].map((i) => a[i]! + (b[i]! - a[i]!) * t) as unknown as Rgb;

const at = Array.from({ length: STEPS }, (_, i) => i / (STEPS - 1));

/** From the ground to ink, in steps of equal lightness: for what is nothing in most places. */
const WEIGHTS = {
  light: ["#f4f5f6", "#a9cdf0", "#4b93dc", "#0b5cb0", "#062f63"],
  dark: ["#1b2027", "#214a7c", "#2f7fd0", "#7dbbff", "#e9f4ff"],
} as const;

function weights(dark: boolean): Rgb[] {
  const stops = WEIGHTS[dark ? "dark" : "light"].map(parse);
  const last = stops.length - 1;
  return at.map((t) => {
    const i = Math.min(last - 1, Math.floor(t * last));
    return mix(stops[i]!, stops[i + 1]!, t * last - i);
  });
}

function diverging(dark: boolean): Rgb[] {
  const middle = parse(dark ? "#1b2027" : "#f4f5f6");
  const [below, above] = [parse("#2166ac"), parse("#b2182b")];
  return at.map((t) => (t < 0.5 ? mix(middle, below, 1 - 2 * t) : mix(middle, above, 2 * t - 1)));
}

/** Relative luminance (WCAG 2). */
export function luminance([r, g, b]: Rgb): number {
  const lin = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * lin[0]! + 0.7152 * lin[1]! + 0.0722 * lin[2]!;
}

const palettes = new Map<string, Palette>();

function remembered(key: string, make: () => Palette): Palette {
  const made = palettes.get(key) ?? make();
  palettes.set(key, made);
  return made;
}

/** The colour table of a kind of scale. The neutral centre of a diverging scale follows the theme. */
export const palette = (kind: Scale["kind"], dark: boolean): Palette =>
  kind === "diverging"
    ? inks(kind, dark)
    : remembered(`${kind} ${dark}`, () => {
        const steps = at.map((t) => parse(interpolateViridis(t)));
        return tabled(steps, [parse("#22002e"), parse("#fff7ae")], dark);
      });

/** The same where zero is the ground: of weights (nothing is the ground), and of signed values. */
export const inks = (kind: Scale["kind"], dark: boolean): Palette =>
  remembered(`inks ${kind} ${dark}`, () => {
    const steps = kind === "diverging" ? diverging(dark) : weights(dark);
    // Beyond an end: further from the centre of the scale, so darker on light ground and lighter on dark.
    const beyond: Rgb = dark ? [255, 255, 255] : [10, 0, 10];
    return tabled(steps, [mix(steps[0]!, beyond, 0.45), mix(steps[STEPS - 1]!, beyond, 0.45)], dark);
  });

function tabled(steps: readonly Rgb[], ends: readonly Rgb[], dark: boolean): Palette {
  const all = [...steps, ...ends, parse(dark ? "#59616b" : "#b4bac1")].map((c) => c.map(Math.round) as unknown as Rgb);
  return {
    pixels: Uint32Array.from(all, ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0),
    css: all.map(([r, g, b]) => `rgb(${r},${g},${b})`),
    darkInk: all.map((c) => luminance(c) > 0.179),
  };
}

/** Place of a value in the table. */
export type Index = (value: number) => number;

/** The place of each value under a scale. Without limits (nothing finite came) every value is BAD. */
export function indexer(scale: Scale): Index {
  const { low, high } = scale;
  if (low === null || high === null) return () => BAD;
  const room = TOLERANCE * Math.max(Math.abs(low), Math.abs(high));
  const factor = high > low ? STEPS / (high - low) : 0;
  const least = low - room;
  const most = high + room;
  return (value) => {
    // Comparisons with NaN are false, so NaN falls through to the last line.
    if (value >= least && value <= most) {
      const step = factor ? ((value - low) * factor) | 0 : STEPS >> 1;
      return step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step;
    }
    if (value < least && value > Number.NEGATIVE_INFINITY) return UNDER;
    return value > most && value < Number.POSITIVE_INFINITY ? OVER : BAD;
  };
}

export interface Tick {
  /** 0 at the low end, 1 at the high end. */
  at: number;
  text: string;
}

/** Ticks of the colour bar: both limits always, round numbers between them where there is room. */
export function ticks(scale: Scale, pixels: number, room = 22): Tick[] {
  const { low, high } = scale;
  if (low === null || high === null) return [];
  const ends: Tick[] = [
    { at: 0, text: (scale.under ? "\u2264 " : "") + tickText(low) },
    { at: 1, text: (scale.over ? "\u2265 " : "") + tickText(high) },
  ];
  const clear = room / Math.max(pixels, 1);
  const between = roundNumbers(low, high, Math.max(2, Math.min(6, Math.floor(pixels / 44))))
    .map((value) => ({ at: (value - low) / (high - low), text: tickText(value) }))
    .filter(({ at }) => at > clear && at < 1 - clear);
  return [ends[0]!, ...between, ends[1]!];
}

/** "norm (residual units)". */
export const scaleLabel = (scale: Scale): string => scale.label + (scale.units ? ` (${scale.units})` : "");

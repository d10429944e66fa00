// The bars on show as SVG text, as a page without a kernel leaves them.
import { tickText } from "../canvas/number";
import { escaped, tag } from "../canvas/svg";
import { ellipsize, type Measure, printable } from "../canvas/text";
import type { Colours } from "../dom/theme";
import { domain, joints, type Shown, signedIn, ticks, type WaterfallData, whisker } from "./waterfall_layout";

const [ROW, NAMES, LANE, NUMBERS, PAD, FONT] = [22, 220, 480, 80, 12, 12];

export const PLUS = "#c4313b";
export const MINUS = "#2f78c4";

export function waterfallSvg(data: WaterfallData, bars: readonly Shown[], colours: Colours, measure: Measure): string {
  const [low, high] = domain(bars);
  const x = (value: number) => PAD + NAMES + ((value - low) / (high - low)) * LANE;
  const y = (row: number) => PAD + (row + 0.5) * ROW;
  const width = 2 * PAD + NAMES + LANE + NUMBERS;
  const height = 2 * PAD + (bars.length + 1.6) * ROW;
  const bottom = PAD + bars.length * ROW;
  const line = (x1: number, y1: number, x2: number, y2: number, stroke: string) =>
    tag("line", { x1, y1, x2, y2, stroke, "stroke-width": 1 });
  const signed = signedIn(bars);
  const middle = { "dominant-baseline": "middle" };
  const out = [tag("rect", { width, height, fill: colours.bg })];
  for (const value of ticks([low, high], 6)) {
    out.push(line(x(value), PAD, x(value), bottom, value === 0 ? colours.dim : colours.line));
    out.push(
      tag(
        "text",
        { x: x(value), y: bottom + 12, fill: colours.dim, "text-anchor": "middle", ...middle },
        tickText(value),
      ),
    );
  }
  out.push(
    tag(
      "text",
      { x: x(low) + LANE / 2, y: bottom + 28, fill: colours.dim, "text-anchor": "middle", ...middle },
      escaped(data.units),
    ),
  );
  for (const [value, upper, lower] of joints(bars, data.shape))
    out.push(line(x(value), y(upper), x(value), y(lower), lower - upper > 1 ? colours.line : colours.dim));
  bars.forEach((bar, row) => {
    const total = row === bars.length - 1;
    const fill = total ? colours.accent : bar.value < 0 ? MINUS : PLUS;
    const [from, to] = [Math.min(bar.from, bar.to), Math.max(bar.from, bar.to)];
    const size = { width: Math.max(1, x(to) - x(from)), height: ROW - 8, rx: 1.5 };
    const faded = Math.max(0.5, 1 - 0.14 * bar.depth);
    out.push(tag("rect", { x: x(from), y: y(row) - ROW / 2 + 4, ...size, fill, "fill-opacity": faded }));
    const ends = whisker(bar);
    if (ends) out.push(line(x(ends[0]), y(row), x(ends[1]), y(row), colours.ink));
    for (const end of ends ?? []) out.push(line(x(end), y(row) - 4, x(end), y(row) + 4, colours.ink));
    const left = PAD + 14 * bar.depth;
    const weight = total ? { "font-weight": 700 } : {};
    const name = ellipsize(printable(bar.name), NAMES - 14 * bar.depth - 8, measure);
    out.push(tag("text", { x: left, y: y(row), fill: colours.ink, ...middle, ...weight }, escaped(name)));
    const right = Math.max(to, ...(ends ?? []));
    const text = total ? signed(bar.value).replace("+", "") : signed(bar.value);
    out.push(tag("text", { x: x(right) + 6, y: y(row), fill: colours.ink, ...middle, ...weight }, text));
  });
  const size = { viewBox: `0 0 ${width} ${height}`, width, height, "font-size": FONT };
  return tag("svg", { xmlns: "http://www.w3.org/2000/svg", ...size, "font-family": colours.mono }, out.join("\n"));
}

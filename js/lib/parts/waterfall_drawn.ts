// The elements of a waterfall: rows with their bars, the lines between them, the scale below; and a picture of it.
import { tickText } from "../canvas/number";
import { printable } from "../canvas/text";
import { h } from "../dom/dom";
import { arrived, joints, type Shown, signedIn, ticks, type WaterfallData, whisker } from "./waterfall_layout";

type Ends = readonly [number, number];

const TICKS = 5;

/** A share of the scale, as CSS takes it. */
const at = ([low, high]: Ends, value: number): string => `${(100 * (value - low)) / (high - low)}%`;

/**
 * The rows of all bars.
 * @param cut there is no Python to ask
 */
export function rowsOf(bars: readonly Shown[], ends: Ends, cut: boolean): HTMLElement[] {
  const signed = signedIn(bars);
  return bars.map((bar, n) => {
    const total = n === bars.length - 1;
    const value = total ? signed(bar.value).replace("+", "") : signed(bar.value);
    return rowOf(bar, value, total, ends, arrived(bars, bar), cut);
  });
}

function rowOf(bar: Shown, value: string, total: boolean, ends: Ends, here: boolean, cut: boolean): HTMLElement {
  const name = printable(bar.name);
  const closed = bar.opens === "ask" && cut;
  const twist = h(
    "span",
    `rw-twist${bar.open && !here ? " rw-coming" : ""}`,
    { "aria-hidden": "true", title: closed ? "What is inside needs Python" : null },
    bar.opens === "" || closed ? "" : bar.open ? "\u25be" : "\u25b8",
  );
  const told = h("bdi", "rw-fall-told", { dir: "ltr", title: name }, name);
  const row = h(
    "div",
    `rw-fall-row${total ? " rw-total" : ""}`,
    {
      role: "row",
      tabindex: -1,
      "data-key": bar.key,
      "aria-level": bar.depth + 1,
      "aria-posinset": bar.place,
      "aria-setsize": bar.siblings,
      "aria-expanded": bar.opens && !closed ? String(bar.open) : null,
      "aria-label": `${name}, ${value}`,
    },
    h("div", "rw-fall-name", { role: "rowheader" }, twist, told),
    h("div", "rw-fall-lane", { role: "gridcell" }, ...drawnBar(bar, total, ends, value)),
  );
  row.style.setProperty("--rw-depth", String(bar.depth));
  return row;
}

function drawnBar(bar: Shown, total: boolean, ends: Ends, value: string): HTMLElement[] {
  const [from, to] = [Math.min(bar.from, bar.to), Math.max(bar.from, bar.to)];
  const shape = h("span", `rw-fall-bar ${total ? "rw-sum" : bar.value < 0 ? "rw-minus" : "rw-plus"}`);
  shape.style.left = at(ends, from);
  shape.style.width = `${(100 * (to - from)) / (ends[1] - ends[0])}%`;
  const known = whisker(bar);
  const number = h("span", "rw-fall-value rw-number", {}, value);
  number.style.left = at(ends, Math.max(to, ...(known ?? [])));
  if (!known) return [shape, number];
  const line = h("span", "rw-fall-whisker");
  line.style.left = at(ends, known[0]);
  line.style.width = `${(100 * (known[1] - known[0])) / (ends[1] - ends[0])}%`;
  return [shape, line, number];
}

/** Lines behind the bars: the scale's, and from the end of each bar to the beginning of the next. */
export function jointLines(bars: readonly Shown[], shape: WaterfallData["shape"], ends: Ends): DocumentFragment {
  const out = document.createDocumentFragment();
  for (const value of ticks(ends, TICKS)) {
    const line = h("span", value === 0 ? "rw-fall-zero" : "rw-fall-tick");
    line.style.left = at(ends, value);
    out.append(line);
  }
  for (const [value, upper, lower] of joints(bars, shape)) {
    const line = h("span", lower - upper > 1 ? "rw-fall-joint rw-around" : "rw-fall-joint");
    line.style.left = at(ends, value);
    line.style.top = `${(100 * (upper + 0.5)) / bars.length}%`;
    line.style.height = `${(100 * (lower - upper)) / bars.length}%`;
    out.append(line);
  }
  return out;
}

/** The scale's numbers, with their unit. */
export function axis(ends: Ends, units: string): HTMLElement {
  const out = h("div", "rw-fall-scale");
  for (const value of ticks(ends, TICKS)) {
    const tick = h("span", "rw-fall-number", {}, tickText(value));
    tick.style.left = at(ends, value);
    out.append(tick);
  }
  out.append(h("span", "rw-fall-unit", {}, printable(units)));
  return out;
}

/** An SVG text as PNG, at twice its size. */
export async function pictureOf(svg: string | null): Promise<Blob | null> {
  if (!svg) return null;
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = h("canvas");
    canvas.width = 2 * image.width;
    canvas.height = 2 * image.height;
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => canvas.toBlob(done, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

// Token text for drawing. Python has made tokens visible already; this is the last guard before a pixel, and the cutting.

// Controls, line separators and bidirectional controls, which could move or hide their neighbours.
const HIDDEN = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** The text with controls and direction overrides written out, as in ⟨U+202E⟩. */
export function printable(text: string): string {
  return text.replace(HIDDEN, (c) => `\u27e8U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

const segmenter =
  typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** User-perceived characters: an emoji family or a letter with its accents is one. */
export const graphemes = (text: string): string[] =>
  segmenter ? Array.from(segmenter.segment(text), (s) => s.segment) : Array.from(text);

export type Measure = (text: string) => number;

const ELLIPSIS = "\u2026";

/** The longest beginning of `text` that fits `width` with an ellipsis; "" where not one character fits. */
export function ellipsize(text: string, width: number, measure: Measure): string {
  if (measure(text) <= width) return text;
  const parts = graphemes(text);
  let low = 0;
  let high = parts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (measure(parts.slice(0, middle).join("") + ELLIPSIS) <= width) low = middle;
    else high = middle - 1;
  }
  return low === 0 ? "" : parts.slice(0, low).join("") + ELLIPSIS;
}

/** The words of `text` in lines of at most `width`; what does not go into `most` lines stays in the last one. */
export function wrapped(text: string, width: number, most: number, measure: Measure): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    const longer = `${line} ${word}`;
    if (line !== undefined && (lines.length === most || measure(longer) <= width)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** A word without spaces in lines of at most `width`, as few as it needs; what does not go into `most` is cut. */
export function broken(word: string, width: number, most: number, measure: Measure): string[] {
  const lines: string[] = [];
  let rest = graphemes(word);
  while (rest.length && lines.length < most - 1 && measure(rest.join("")) > width) {
    let n = rest.length - 1;
    while (n > 1 && measure(rest.slice(0, n).join("")) > width) n--;
    lines.push(rest.slice(0, n).join(""));
    rest = rest.slice(n);
  }
  const last = ellipsize(rest.join(""), width, measure);
  return last ? [...lines, last] : lines;
}

const SIMPLE = /^[\x20-\x7e\u00b7\u21b5\u2026]*$/;

/**
 * Width of a string in a monospace font. Characters that such a font surely has are counted, the rest measured and
 * remembered, so a prompt of thousands of tokens costs next to nothing.
 */
export function monospaceMeasure(real: Measure): Measure {
  const one = real("0".repeat(32)) / 32;
  const known = new Map<string, number>();
  return (text) => {
    if (SIMPLE.test(text)) return text.length * one;
    let width = known.get(text);
    if (width === undefined) {
      width = real(text);
      if (known.size > 5000) known.clear();
      known.set(text, width);
    }
    return width;
  };
}

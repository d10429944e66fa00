// What is to be said of a cell of the open head, or of one of its tokens.
import { numberText } from "../canvas/number";
import { scaleLabel } from "../canvas/scale";
import { printable } from "../canvas/text";
import type { Facts } from "../page/facts";
import type { Spot } from "./matrix_layout";
import type { Picture } from "./matrix_paint";

/** What the tooltip and a screen reader are told of a cell, or of a token. */
export function spotFacts(picture: Picture, lead: string, { q, k }: Spot): Omit<Facts, "at"> {
  const { n, values, tokens, scale, causal, marked } = picture;
  const token = (pos: number) => printable(tokens[pos] ?? "");
  const label = scaleLabel(scale);
  if (q !== null && k !== null) {
    const notes = marked.has(k) ? ["marked: left out of the scale"] : [];
    if (q === k) notes.push("itself");
    const value = effectText(picture, values[q * n + k]!);
    return {
      lead,
      token: `${token(q)} \u2190 ${token(k)}`,
      where: `${q} \u2190 ${k}`,
      label,
      value,
      also: [],
      notes,
      top: [],
    };
  }
  const pos = (q ?? k)!;
  const row = q !== null;
  const others: { token: string; prob: number; size: number }[] = [];
  let sum = 0;
  for (let other = causal && !row ? pos : 0; other < (causal && row ? pos + 1 : n); other++) {
    const value = values[row ? pos * n + other : other * n + pos]!;
    sum += value || 0;
    others.push({ token: `${token(other)} ${other}`, prob: value, size: Math.abs(value) });
  }
  const norm = row && picture.written?.[pos];
  others.sort((a, b) => (b.size || 0) - (a.size || 0));
  // Shares are drawn as bars of a whole; of effects there is none, so they are told.
  const shares = scale.kind === "sequential" && scale.units === "share";
  const most = others.filter(({ size }) => size > picture.rounding).slice(0, 3);
  const told = most.map(({ token: name, prob }) => `${name} ${numberText(prob, 3)}`).join(", ");
  return {
    lead,
    token: token(pos),
    where: row ? `position ${pos}, which looks` : `position ${pos}, which is looked at`,
    label: `sum of ${label}`,
    value: most.length ? numberText(sum, 3) : "no effect",
    also: typeof norm === "number" ? [{ label: "writes, norm", value: numberText(norm, 3) }] : [],
    notes: shares || !told ? [] : [`most: ${told}`],
    top: shares ? others.slice(0, 5) : [],
    topLabel: row ? "Looks at" : "Looked at by",
  };
}

/** A number, or that it is none: effects that are only rounding must not be read as some. */
const effectText = ({ scale, rounding }: Picture, value: number): string =>
  scale.kind === "diverging" && Math.abs(value) <= rounding ? "no effect" : numberText(value, 3);

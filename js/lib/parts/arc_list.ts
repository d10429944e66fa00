// Which arcs are drawn over the tokens, where they run, and what pinned tokens add up to: pure geometry and sums.
import type { Picture } from "./matrix_paint";

export interface Arc {
  q: number;
  k: number;
  value: number;
}

export interface ArcList {
  /** The weakest first, so that the strongest is drawn over the others. */
  arcs: Arc[];
  /** Values smaller than this are no arcs. */
  least: number;
  /** Share of all (absolute) values that has no arc. */
  left: number;
  /** Share that goes to marked positions, which have no arcs unless they are asked for. */
  sinks: number;
}

/** Arcs drawn at most; the strongest of them. */
export const MOST_ARCS = 1500;
/** Of the scale's end: a weaker line could not be seen. */
const SEEN = 0.03;

/** What the scale ends at, whatever the sign. */
export const largest = ({ scale }: Picture): number =>
  Math.max(Math.abs(scale.low ?? 0), Math.abs(scale.high ?? 0)) || 1;

/** The arcs of all tokens. */
export function arcList(picture: Picture): ArcList {
  const { n, values, causal, marked } = picture;
  let least = SEEN * largest(picture);
  const found: Arc[] = [];
  let all = 0;
  let sinks = 0;
  for (let q = 0; q < n; q++)
    for (let k = 0; k < (causal ? q + 1 : n); k++) {
      const value = values[q * n + k]!;
      const size = Math.abs(value) || 0;
      all += size;
      if (marked.has(k)) sinks += size;
      else if (size >= least) found.push({ q, k, value });
    }
  found.sort((a, b) => Math.abs(a.value) - Math.abs(b.value));
  if (found.length > MOST_ARCS) {
    found.splice(0, found.length - MOST_ARCS);
    least = Math.abs(found[0]!.value);
  }
  const drawn = found.reduce((sum, { value }) => sum + Math.abs(value), 0);
  return { arcs: found, least, left: all ? (all - drawn - sinks) / all : 0, sinks: all ? sinks / all : 0 };
}

/** The arcs of one token: from where it takes (`out`), and who takes from it (`in`); marked ones too. */
export function arcsOf(picture: Picture, token: number, least: number): { out: Arc[]; in: Arc[] } {
  const { n, values, causal } = picture;
  const found = { out: [] as Arc[], in: [] as Arc[] };
  for (let other = 0; other < n; other++) {
    const from = values[token * n + other]!;
    if ((!causal || other <= token) && Math.abs(from) >= least) found.out.push({ q: token, k: other, value: from });
    const to = values[other * n + token]!;
    if (other !== token && (!causal || other >= token) && Math.abs(to) >= least)
      found.in.push({ q: other, k: token, value: to });
  }
  return found;
}

/** What several tokens together take from each position. */
export function sumOf({ n, values, causal }: Picture, tokens: Iterable<number>): Float32Array {
  const out = new Float32Array(n);
  for (const q of tokens) for (let k = 0; k < (causal ? q + 1 : n); k++) out[k] = out[k]! + (values[q * n + k]! || 0);
  return out;
}

export interface ArcLayout {
  width: number;
  height: number;
  n: number;
  /** Room of a token. */
  cell: number;
  content: number;
  /** Height of the lanes: arcs, then the sums of pinned tokens, then labels. */
  arcs: number;
  sums: number;
  lane: number;
  /** Labels are level where they fit, else slanted. */
  level: boolean;
  step: number;
}

export const ARCS = { pad: 12, least: 15, most: 84, arcs: 210, sums: 34 };

export function arcLayout(width: number, n: number, labelWidth: number, pinned: boolean): ArcLayout {
  const slant = labelWidth * Math.SQRT1_2;
  const room = Math.max(80, width - 2 * ARCS.pad - slant);
  const wide = Math.min(ARCS.most, Math.max(ARCS.least, room / Math.max(1, n)));
  const level = labelWidth <= wide - 6;
  const cell = level ? Math.min(ARCS.most, Math.max(labelWidth + 6, (width - 2 * ARCS.pad) / n)) : wide;
  const content = 2 * ARCS.pad + cell * n + (level ? 0 : slant);
  const sums = pinned ? ARCS.sums : 0;
  const lane = level ? 24 : slant + 20;
  const arcs = Math.min(ARCS.arcs, 40 + 0.5 * cell * n);
  const step = level ? 1 : Math.max(1, Math.ceil((12 * Math.SQRT2) / cell));
  return { width, height: Math.ceil(arcs + sums + lane + 6), n, cell, content, arcs, sums, lane, level, step };
}

export const centre = (at: ArcLayout, token: number, scroll: number): number =>
  ARCS.pad + (token + 0.5) * at.cell - scroll;

/** Half-axes of the ellipse of an arc; a token's arc to itself is a small circle above it. */
export function ellipse(at: ArcLayout, { q, k }: Arc): { rx: number; ry: number } {
  if (q === k) return { rx: Math.min(5, at.cell / 3), ry: Math.min(5, at.cell / 3) };
  const rx = (Math.abs(q - k) * at.cell) / 2;
  const most = at.arcs - 10;
  return { rx, ry: most * (1 - Math.exp(-rx / (0.55 * most))) };
}

/** The arc under a point, the strongest where several are; null where none is within `near` pixels. */
export function arcAt(at: ArcLayout, arcs: readonly Arc[], x: number, y: number, scroll: number, near = 5): Arc | null {
  let best: Arc | null = null;
  let least = near;
  for (let i = arcs.length - 1; i >= 0; i--) {
    const arc = arcs[i]!;
    const { rx, ry } = ellipse(at, arc);
    const middle = (centre(at, arc.q, scroll) + centre(at, arc.k, scroll)) / 2;
    const up = at.arcs - y - (arc.q === arc.k ? ry + 2 : 0);
    if (Math.abs(x - middle) > rx + near || (arc.q !== arc.k && up < 0) || Math.abs(up) > ry + near) continue;
    const off = Math.abs(Math.hypot((x - middle) / rx, up / ry) - 1) * Math.min(rx, ry);
    if (off < least) {
      best = arc;
      least = off;
    }
  }
  return best;
}

/** The token whose label, or whose place under the arcs, is at a point; -1 where none is. */
export function tokenAt(at: ArcLayout, x: number, y: number, scroll: number): number {
  const slide = at.level || y < at.arcs + at.sums ? 0 : y - at.arcs - at.sums - 8;
  const token = Math.floor((x + scroll - ARCS.pad - Math.max(0, slide)) / at.cell);
  return y >= at.arcs - 4 && token >= 0 && token < at.n ? token : -1;
}

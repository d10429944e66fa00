// Arcs over tokens on a canvas, the sums of pinned tokens below them, and the tokens.
import { numberText } from "../canvas/number";
import { FONT } from "../canvas/paint";
import type { Measure } from "../canvas/text";
import type { Colours } from "../dom/theme";
import { type Arc, type ArcLayout, type ArcList, arcsOf, centre, ellipse, largest, sumOf } from "./arc_list";
import type { Spot } from "./matrix_layout";
import { labelOf, type Picture, TOKEN_CAP } from "./matrix_paint";

/** Who takes from the token that is pointed at; on light and on dark ground. */
const TAKEN = ["#b35900", "#ffb454"] as const;
/** Above and below zero, as on a diverging scale. */
const SIGNED = { above: ["#b2182b", "#e8707a"], below: ["#2166ac", "#5ea3e6"] } as const;

export interface ArcScene {
  picture: Picture;
  list: ArcList;
  at: ArcLayout;
  colours: Colours;
  measure: Measure;
  scroll: number;
  selected: Spot;
  /** The token, or the arc, that is pointed at. */
  token: number;
  arc: Arc | null;
  pinned: ReadonlySet<number>;
  /** The token that the keyboard is at; -1 where its focus is elsewhere. */
  cursor: number;
}

/** The ink of a value: signed ones have two, weights the accent. */
const inkOf = (value: number, { picture, colours: { accent, dark } }: ArcScene): string =>
  picture.scale.kind === "sequential" ? accent : SIGNED[value < 0 ? "below" : "above"][dark ? 1 : 0];

export function drawArcs(ctx: CanvasRenderingContext2D, scene: ArcScene): void {
  const { picture, list, at, colours, token, pinned, selected, arc: hovered } = scene;
  ctx.fillStyle = colours.bg;
  ctx.fillRect(0, 0, at.width, at.height);
  const lit = token >= 0 ? [token] : [...pinned];
  for (const arc of list.arcs) stroke(ctx, scene, arc, inkOf(arc.value, scene), lit.length ? 0.14 : 1);
  for (const each of lit) {
    const found = arcsOf(picture, each, list.least);
    if (token >= 0) for (const arc of found.in) stroke(ctx, scene, arc, TAKEN[colours.dark ? 1 : 0], 1);
    for (const arc of found.out) stroke(ctx, scene, arc, inkOf(arc.value, scene), 1);
  }
  const ink = colours.dark ? "#fff" : "#000";
  const { q, k } = selected;
  if (q !== null && k !== null) stroke(ctx, scene, { q, k, value: picture.values[q * picture.n + k]! }, ink, 1, 1.5);
  if (hovered) stroke(ctx, scene, hovered, ink, 1, 1);
  ctx.globalAlpha = 1;
  if (pinned.size) drawSums(ctx, scene);
  drawTokens(ctx, scene, lit);
}

function stroke(
  ctx: CanvasRenderingContext2D,
  { at, picture, scroll }: ArcScene,
  arc: Arc,
  ink: string,
  fade: number,
  thick?: number,
): void {
  const [a, b] = [centre(at, arc.q, scroll), centre(at, arc.k, scroll)];
  if (Math.max(a, b) < -20 || Math.min(a, b) > at.width + 20) return;
  const size = Math.min(1, Math.abs(arc.value) / largest(picture));
  const { rx, ry } = ellipse(at, arc);
  ctx.strokeStyle = ink;
  ctx.lineWidth = thick ?? 0.5 + 3.5 * size;
  ctx.globalAlpha = thick ? 1 : fade * (0.12 + 0.75 * size);
  ctx.beginPath();
  if (arc.q === arc.k) ctx.ellipse(a, at.arcs - ry - 2, rx, ry, 0, 0, 2 * Math.PI);
  else ctx.ellipse((a + b) / 2, at.arcs, rx, ry, 0, Math.PI, 2 * Math.PI);
  ctx.stroke();
}

/** What the pinned tokens together take from each position, as bars: full where each gave all that the scale knows. */
function drawSums(ctx: CanvasRenderingContext2D, scene: ArcScene): void {
  const { picture, at, colours, pinned, scroll, list } = scene;
  const most = pinned.size * largest(picture);
  const base = at.arcs + at.sums - 2;
  ctx.font = `${FONT}px ${colours.sans}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "alphabetic";
  sumOf(picture, pinned).forEach((sum, k) => {
    const high = Math.min(1, Math.abs(sum) / most) * (at.sums - 14);
    const x = centre(at, k, scroll);
    const wide = Math.min(16, at.cell - 4);
    ctx.fillStyle = inkOf(sum, scene);
    ctx.fillRect(x - wide / 2, base - high, wide, high);
    if (at.cell < 28 || Math.abs(sum) < list.least) return;
    ctx.fillStyle = colours.ink;
    ctx.fillText(numberText(sum, 2), x, base - high - 3);
  });
  ctx.fillStyle = colours.line;
  ctx.fillRect(0, base, at.width, 1);
}

function drawTokens(ctx: CanvasRenderingContext2D, scene: ArcScene, lit: readonly number[]): void {
  const { picture, at, colours, measure, scroll, selected, arc, pinned, cursor } = scene;
  const strong = new Set([...lit, ...pinned, ...(arc ? [arc.q, arc.k] : [])]);
  for (const end of [selected.q, selected.k]) if (end !== null) strong.add(end);
  const near = (i: number) => [...strong].some((a) => a !== i && Math.abs(a - i) < at.step);
  const y = at.arcs + at.sums + (at.level ? 13 : 9);
  ctx.textBaseline = "middle";
  ctx.textAlign = at.level ? "center" : "left";
  for (let i = 0; i < at.n; i++) {
    const x = centre(at, i, scroll);
    if (x < -TOKEN_CAP || x > at.width + 10) continue;
    if (!strong.has(i) && (i % at.step !== 0 || near(i))) continue;
    const text = labelOf(picture, i, measure);
    const wide = measure(text) + 8;
    const left = at.level ? -wide / 2 : -4;
    ctx.save();
    ctx.translate(at.level ? x : x - 2, y);
    if (!at.level) ctx.rotate(Math.PI / 4);
    if (pinned.has(i)) {
      ctx.fillStyle = colours.accent;
      ctx.globalAlpha = 0.2;
      ctx.beginPath();
      ctx.roundRect(left, -8, wide, 16, 3);
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    ctx.font = `${strong.has(i) ? "700 " : ""}${FONT}px ${colours.mono}`;
    ctx.fillStyle = picture.unknown.has(i) ? colours.amber : picture.marked.has(i) ? colours.dim : colours.ink;
    ctx.fillText(text, 0, 0);
    if (i === cursor) {
      ctx.strokeStyle = colours.accent;
      ctx.lineWidth = 2;
      ctx.setLineDash([4, 2]);
      ctx.strokeRect(left, -9, wide, 18);
    }
    ctx.restore();
  }
}

// What every picture of its own does with its canvases: their size, their text's width, their file.
import { FONT } from "./paint";
import { density, resize } from "./picture";
import { type Measure, monospaceMeasure } from "./text";

/** Give canvases a size in CSS pixels; their pixels follow the screen's density. */
export function sized(canvases: readonly HTMLCanvasElement[], width: number, height: number): void {
  for (const canvas of canvases) resize(canvas, width, height, density());
}

/** A canvas ready to be drawn on in CSS pixels. */
export function penOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D | null {
  const ctx = canvas.getContext("2d");
  const dpr = density();
  ctx?.setTransform(dpr, 0, 0, dpr, 0, 0);
  if (ctx) ctx.direction = "ltr";
  return ctx;
}

/** Width of a text in the labels' font. */
export function measureIn(canvas: HTMLCanvasElement, mono: string): Measure {
  const ctx = canvas.getContext("2d");
  return monospaceMeasure((text) => {
    if (!ctx) return 0;
    ctx.font = `${FONT}px ${mono}`;
    return ctx.measureText(text).width;
  });
}

export const pngOf = (canvas: HTMLCanvasElement): Promise<Blob | null> =>
  new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

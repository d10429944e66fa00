// What marks a column that is left out of the colour scale: diagonals over its cells.

export class Hatch {
  #made: { key: string; pattern: CanvasPattern } | null = null;

  /** Diagonals, each dark beside light, so that they show on any colour. */
  pattern(ctx: CanvasRenderingContext2D, dpr: number): CanvasPattern | null {
    const key = String(dpr);
    if (this.#made?.key === key) return this.#made.pattern;
    const size = Math.round(9 * dpr);
    const tile = document.createElement("canvas");
    tile.width = tile.height = size;
    const pen = tile.getContext("2d");
    if (!pen) return null;
    for (const [ink, shift] of [
      ["rgba(255,255,255,.35)", dpr],
      ["rgba(0,0,0,.42)", 0],
    ] as const) {
      pen.strokeStyle = ink;
      pen.lineWidth = dpr;
      for (const turn of [-size, 0, size]) {
        pen.beginPath();
        pen.moveTo(turn + shift - 1, size + 1);
        pen.lineTo(turn + shift + size + 1, -1);
        pen.stroke();
      }
    }
    const pattern = ctx.createPattern(tile, "repeat");
    if (!pattern) return null;
    pattern.setTransform(new DOMMatrix().scale(1 / dpr));
    this.#made = { key, pattern };
    return pattern;
  }
}

// User-timing marks that a benchmark reads: "rw:draw" from arrival to drawn, "rw:hover" for one pointer move.

const counts = new Map<string, number>();
const KEPT = 2000;

/** Record the time since `start` (from `performance.now()`); old entries go, so that a long session keeps none. */
export function measure(name: "rw:draw" | "rw:hover", start: number): void {
  const count = (counts.get(name) ?? 0) + 1;
  if (count > KEPT) performance.clearMeasures(name);
  counts.set(name, count > KEPT ? 1 : count);
  performance.measure(name, { start, end: performance.now() });
}

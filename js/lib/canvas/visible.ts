// When to draw again: the element's size, its return to the screen, another pixel density.

/**
 * Call `draw` when the element gets another width, comes back into view, gets or leaves the whole screen, or moves to one of another density.
 *
 * @param draw told whether the canvas may have lost its pixels
 */
export function watchSize(el: HTMLElement, draw: (lost: boolean) => void, signal: AbortSignal): void {
  // Height follows from width. Hosts that detach a cell report a width of 0 and then the old one.
  const sizes = new ResizeObserver(() => el.clientWidth > 0 && draw(false));
  sizes.observe(el);
  // The first report is about being observed, later ones about leaving and coming back.
  let left = false;
  const views = new IntersectionObserver((entries) => {
    const here = entries.at(-1)?.isIntersecting ?? false;
    if (here && left && el.clientWidth > 0) draw(true);
    left = !here;
  });
  views.observe(el);
  document.addEventListener("fullscreenchange", () => draw(true), { signal });
  const watchDensity = () => {
    if (signal.aborted) return;
    const query = globalThis.matchMedia(`(resolution: ${globalThis.devicePixelRatio}dppx)`);
    const changed = () => {
      if (!signal.aborted) draw(true);
      watchDensity();
    };
    query.addEventListener("change", changed, { once: true, signal });
  };
  watchDensity();
  signal.addEventListener("abort", () => {
    sizes.disconnect();
    views.disconnect();
  });
}

/** Height of header, sentence, labels and footer. */
const AROUND = 300;

/** Height for rows where an element has the whole screen, less what stands around them. */
export const screenRoom = (el: HTMLElement): number | undefined =>
  el.closest(":fullscreen, [popover='manual']") ? innerHeight - AROUND : undefined;

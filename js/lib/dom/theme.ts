// Light or dark, from the host, and the colours that a canvas needs (a canvas cannot inherit CSS).

export type Scheme = "light" | "dark";

/** Tokens of theme.css as a canvas takes them. */
export interface Colours {
  bg: string;
  ink: string;
  dim: string;
  line: string;
  accent: string;
  amber: string;
  sans: string;
  mono: string;
  dark: boolean;
}

const asked = (query: string): boolean => globalThis.matchMedia?.(query).matches ?? false;

/** What the host says: JupyterLab, VS Code, then pages that set a class or attribute (marimo, docs), then the system. */
export function hostScheme(doc: Document): Scheme {
  const { body, documentElement: root } = doc;
  const lab = body.dataset.jpThemeLight;
  if (lab === "true" || lab === "false") return lab === "true" ? "light" : "dark";
  const code = body.dataset.vscodeThemeKind;
  if (code) return code.includes("light") ? "light" : "dark";
  for (const el of [body, root]) {
    const word = el.dataset.theme ?? el.dataset.colorScheme ?? "";
    if (el.classList.contains("dark") || el.classList.contains("dark-theme") || word === "dark") return "dark";
    if (el.classList.contains("light") || el.classList.contains("light-theme") || word === "light") return "light";
  }
  return asked("(prefers-color-scheme: dark)") ? "dark" : "light";
}

/** Colours of the element's theme, as computed now. */
function readColours(el: HTMLElement): Colours {
  const style = getComputedStyle(el);
  const token = (name: string, fallback: string) => style.getPropertyValue(`--rw-${name}`).trim() || fallback;
  return {
    bg: token("bg", "#fff"),
    ink: token("ink", "#1b1f24"),
    dim: token("dim", "#626b75"),
    line: token("line", "#d9dee4"),
    accent: token("accent", "#0b6bcb"),
    amber: token("amber", "#9a6700"),
    sans: token("sans", "sans-serif"),
    mono: token("mono", "monospace"),
    dark: el.dataset.rwTheme === "dark",
  };
}

/** Keep `data-rw-theme` on the element true to the host, and hand over its colours now and whenever they change. */
export function followTheme(el: HTMLElement, changed: (colours: Colours) => void, signal: AbortSignal): void {
  const doc = el.ownerDocument;
  let known = "";
  const apply = () => {
    el.dataset.rwTheme = hostScheme(doc);
    const colours = readColours(el);
    const now = JSON.stringify(colours);
    if (now !== known) changed(colours);
    known = now;
  };
  // Theme switches touch several attributes; style sheets may land a moment later, so read on the next frame too.
  let frame = 0;
  const soon = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(apply);
  };
  apply();
  // Hosts may make a view before they put it on the page; until then nothing is inherited. This tells of the arrival.
  const arrival = new ResizeObserver(apply);
  arrival.observe(el);
  const observer = new MutationObserver(soon);
  for (const target of [doc.body, doc.documentElement])
    observer.observe(target, {
      attributes: true,
      attributeFilter: [
        "class",
        "style",
        "data-theme",
        "data-color-scheme",
        "data-jp-theme-light",
        "data-jp-theme-name",
        "data-vscode-theme-kind",
      ],
    });
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"])
    globalThis.matchMedia?.(query).addEventListener("change", soon, { signal });
  signal.addEventListener("abort", () => {
    observer.disconnect();
    arrival.disconnect();
    cancelAnimationFrame(frame);
  });
}

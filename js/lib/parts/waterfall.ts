// Signed bars that add up, from the embedding to the metric: a bar opens into what it consists of.
import "./waterfall.css";
import { monospaceMeasure, printable } from "../canvas/text";
import { h, setText, toggle, tokenSpan } from "../dom/dom";
import type { Colours } from "../dom/theme";
import { barRow } from "../page/bars";
import type { Facts } from "../page/facts";
import { dataOf, type MakePart, type Now } from "../page/part";
import { Tooltip } from "../page/tooltip";
import type { Address, Writes } from "../wire/model";
import { same } from "../wire/optimistic";
import { treeKey } from "./tree_keys";
import { axis, jointLines, pictureOf, rowsOf } from "./waterfall_drawn";
import {
  arrived,
  domain,
  type Shown,
  selected,
  signed,
  signedIn,
  visible,
  type WaterfallData,
  waterfallCsv,
} from "./waterfall_layout";
import { waterfallSvg } from "./waterfall_svg";

const OPENED = "opened";

/** The keys of open bars as they travel: with spaces between them. */
const keysOf = (value: unknown): string[] =>
  String(value ?? "")
    .split(" ")
    .filter(Boolean);

export const waterfall: MakePart = ({ select, set, signal }, name) => {
  const rows = h("div", "rw-fall-rows", { role: "rowgroup" });
  const lines = h("div", "rw-fall-lines", { "aria-hidden": "true" });
  const scale = h("div", "rw-fall-axis rw-dim rw-number", { "aria-hidden": "true" });
  const live = h("div", "rw-hidden-text", { "aria-live": "polite" });
  const tooltip = new Tooltip();
  const tree = h("div", "rw-fall-tree", { role: "treegrid" }, lines, rows);
  const el = h("div", "rw-fall", {}, h("div", "rw-fall-scroll", {}, tree, scale), live, tooltip.el);
  let data: WaterfallData | null = null;
  let bars: Shown[] = [];
  let opened: string[] = [];
  let selection: Address = {};
  let cut = false;
  let cursor: string | null = null; // the bar that Tab reaches
  let said: string | null = null; // whose opening is to be told
  let drawn = "";
  let writes: Writes | null = null;
  let colours: Colours | null = null;

  const bar = (key: string | null | undefined): Shown | undefined => bars.find((each) => each.key === key);
  const element = (key: string): HTMLElement | null => rows.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const keyAt = (event: Event): string | undefined =>
    (event.target as Element).closest<HTMLElement>("[role=row]")?.dataset.key;

  const toggleBar = (shown: Shown, open = !shown.open): void => {
    if (shown.opens === "" || open === shown.open || (shown.opens === "ask" && cut)) return;
    opened = open ? [...opened, shown.key] : opened.filter((key) => key !== shown.key);
    said = shown.key;
    set(OPENED, opened.join(" "));
  };

  const choose = (shown: Shown): void => {
    moveTo(shown.key);
    select(shown.at);
  };

  const moveTo = (key: string, focus = true): void => {
    cursor = key;
    for (const row of rows.children) (row as HTMLElement).tabIndex = (row as HTMLElement).dataset.key === key ? 0 : -1;
    if (focus) element(key)?.focus({ preventScroll: false });
  };

  const draw = (): void => {
    if (!data) return;
    const focused = rows.contains(document.activeElement) || rows.contains(rootOf(el).activeElement);
    const chosen = selected(bars, selection);
    const known = bar(cursor) ? cursor : (chosen?.key ?? bars[0]?.key ?? null);
    const ends = domain(bars);
    rows.replaceChildren(...rowsOf(bars, ends, cut));
    lines.replaceChildren(jointLines(bars, data.shape, ends));
    scale.replaceChildren(axis(ends, data.units));
    tree.setAttribute("aria-label", `${data.label}, by what has written it`);
    if (known) moveTo(known, focused);
    mark();
  };

  const mark = (): void => {
    const chosen = selected(bars, selection);
    for (const row of rows.children)
      row.setAttribute("aria-selected", String((row as HTMLElement).dataset.key === chosen?.key));
  };

  const tell = (): void => {
    const shown = bar(said);
    if (!shown || (shown.open && !arrived(bars, shown))) return;
    const inside = bars.filter(({ parent }) => parent === said).length;
    setText(live, `${printable(shown.name)} ${shown.open ? `opened, ${inside} parts` : "closed"}`);
    said = null;
  };

  const factsOf = (each: Shown): Facts => {
    const [lead, token, where] = each.told.map(printable) as [string, string, string];
    const total = bars.at(-1)?.value ?? Number.NaN;
    const also = [{ label: "share of the total", value: share(each.value / total) }];
    if (each.low !== null && each.high !== null)
      also.push({
        label: `95 % interval, ${data?.prompts} prompts`,
        value: `${signed(each.low)} to ${signed(each.high)}`,
      });
    if (data?.shape === "waterfall" && each.key !== "total") also.push({ label: "sum so far", value: signed(each.to) });
    const notes = each.opens === "ask" && cut ? ["What is inside needs Python."] : [];
    const unit = data?.units ? ` (${data.units})` : "";
    return {
      at: each.at,
      lead,
      token,
      where,
      label: `direct effect${unit}`,
      value: signed(each.value),
      also,
      notes,
      top: [],
    };
  };

  rows.addEventListener(
    "click",
    (event) => {
      const shown = bar(keyAt(event));
      if (!shown) return;
      if ((event.target as Element).closest(".rw-twist") || shown.key.endsWith("others")) {
        moveTo(shown.key);
        toggleBar(shown);
      } else choose(shown);
    },
    { signal },
  );
  rows.addEventListener("focusin", (event) => moveTo(keyAt(event) ?? cursor ?? "", false), { signal });
  rows.addEventListener(
    "keydown",
    (event) => {
      const shown = bar(cursor);
      const action = shown && treeKey(event, bars, shown);
      if (!shown || !action) return;
      event.preventDefault();
      event.stopPropagation();
      if (action.kind === "move") moveTo(action.to);
      else if (action.kind === "toggle") toggleBar(shown, action.open);
      else if (action.kind === "reset") select({});
      else {
        choose(shown);
        if (action.kind === "act") toggleBar(shown);
      }
    },
    { signal },
  );
  rows.addEventListener(
    "pointermove",
    (event) => {
      const shown = event.pointerType === "touch" ? undefined : bar(keyAt(event));
      if (!shown) return tooltip.hide();
      const { left, top, height } = element(shown.key)!.getBoundingClientRect();
      tooltip.show(factsOf(shown), { x: Math.max(left, event.clientX), y: top, w: 4, h: height });
    },
    { signal },
  );
  rows.addEventListener("pointerleave", () => tooltip.hide(), { signal });
  signal.addEventListener("abort", () => tooltip.hide());

  const svg = (): string | null =>
    data &&
    colours &&
    waterfallSvg(
      data,
      bars,
      colours,
      monospaceMeasure((text) => 7.3 * text.length),
    );
  return {
    el,
    hint: "Click a bar for its numbers, a triangle for what it consists of.",
    get empty() {
      return !bars.length;
    },
    refresh({ frame, selection: at, details, cut: none, control }: Now) {
      data = dataOf<WaterfallData>(frame, name);
      toggle(el, data !== null);
      selection = at;
      cut = none;
      opened = keysOf(control(OPENED));
      bars = data ? visible(data, new Set(opened)) : [];
      writes = details()?.writes ?? null;
      const now = JSON.stringify([data?.shape, data?.units, bars, cut]);
      if (now === drawn) mark();
      else draw();
      drawn = now;
      tell();
    },
    reset() {
      cursor = null;
      el.firstElementChild?.scrollTo(0, 0);
    },
    recolour(found) {
      colours = found;
    },
    facts(at) {
      const shown = selected(bars, at);
      return shown && factsOf(shown);
    },
    told(at, planes) {
      return planes.known?.find((known) => same(known.at, at)) ?? null;
    },
    more: () => (writes ? [along(writes)] : []),
    get measured() {
      return data?.label ?? "";
    },
    signs: () => SIGNS.filter((_, n) => n < 2 || bars.some((each) => each.low !== null)),
    files: () => [
      { label: "Picture", hint: "PNG", mime: "image/png", make: async () => pictureOf(svg()) },
      { label: "Vector picture", hint: "SVG", mime: "image/svg+xml", make: async () => svg() },
      { label: "Table", hint: "CSV", mime: "text/csv", make: async () => (data ? waterfallCsv(data, bars) : null) },
    ],
  };
};

const SIGNS = [
  ["red, blue", "A bar that adds to the total, and one that takes from it. It begins where the one before it ends."],
  ["others", "The sum of all bars under 1\u00a0% of the total; a click shows them one by one."],
  ["\u251c\u2500\u2524", "95\u00a0% interval of the mean over prompts."],
] as const;

const share = (value: number): string =>
  Number.isFinite(value) ? `${(100 * value).toFixed(1).replace("-", "\u2212")}\u00a0%` : "not defined";

const rootOf = (el: HTMLElement): Document | ShadowRoot => el.getRootNode() as Document | ShadowRoot;

/** Tokens that a part promotes and suppresses most; bars are relative to the largest. */
function along({ told: [heading, token, units], tokens }: Writes): HTMLElement {
  const most = Math.max(...tokens.map(({ value }) => Math.abs(value)));
  const told = signedIn(tokens);
  const list = tokens.map(({ token, value }) =>
    barRow(token, Math.abs(value) / most, told(value), value < 0 ? "rw-minus" : "rw-plus"),
  );
  return h(
    "div",
    "rw-writes",
    {},
    h("div", "rw-heading", {}, `${heading} `, tokenSpan(printable(token)), h("span", "rw-dim", {}, ` ${units}`)),
    h("div", "rw-bars", { role: "list" }, ...list),
  );
}

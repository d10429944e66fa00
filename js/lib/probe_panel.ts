// The details of a probe at one layer, over a model of two traits. What it asks for goes to Python as messages.
import "./theme.css";
import "./widget.css";
import "./neurons.css";
import "./probe_panel.css";
import { Channel } from "./channel";
import { ellipsis } from "./contexts";
import { h, setText, toggle, tokenSpan } from "./dom";
import { checkItems } from "./footer";
import { watchKernel } from "./liveness";
import type { Check, HostModel, Status } from "./model";
import { noticeElement, noticesOf } from "./notices";
import { printable } from "./text";
import { followTheme } from "./theme";
import { followTraits, shown } from "./view";

/** Confusions of more classes take the whole width. */
const NARROW = 3;

/** A sample that the probe gets wrong: a piece of its prompt, its token on the colour of the score. */
export interface Sample {
  label: string;
  predicted: string;
  score: string;
  /** From -1 (surely another class) to 1 (surely this class). */
  share: number | null;
  tokens: string[];
  /** Place of the sample's token in `tokens`. */
  center: number;
  /** Whether the prompt goes on before and after. */
  cut: [boolean, boolean];
  title: string;
}

/** One intervention of the causal test; sizes are in the metric's unit. */
export interface Effect {
  name: string;
  probe: number;
  random: number;
  random_high: number;
  /** The two sizes as text. */
  told: [string, string];
}

/** A check, and the curves that it is about; "" where there is one curve only. */
export interface CurveCheck extends Check {
  of: string;
}

export interface PanelContent {
  /** What the curves show, and what they do not prove. */
  sentence: string;
  checks: CurveCheck[];
  footer: string;
  heading: string;
  /** In place of everything else: what to do first. */
  empty: string;
  rows: { label: string; value: string }[];
  confusion: { classes: string[]; counts: string[][]; shares: number[][] } | null;
  hardest: Sample[];
  /** Classes to choose the direction of; empty where there is one direction only. */
  labels: string[];
  label: string;
  erase: { enabled: boolean; hint: string };
  causal: { verdict: string; unit: string; effects: Effect[]; checks: Check[] } | null;
}

/** The synced traits. Only Python writes them. */
export interface Model {
  content: PanelContent | null;
  status: Status;
}

interface PanelHost extends Omit<HostModel, "get"> {
  get<K extends keyof Model>(name: K): Model[K];
}

export interface PanelContext {
  model: PanelHost;
  el: HTMLElement;
  signal?: AbortSignal;
}

export function probePanel({ model, el, signal }: PanelContext): () => void {
  return shown(signal, (own) => new PanelView(model, el, own));
}

class PanelView {
  readonly root = h("div", "rw rw-probe", { role: "group", "aria-label": "Details of the layer" });
  readonly #notices = h("div", "rw-notices");
  readonly #heading = h("div", "rw-heading", { "aria-live": "polite" });
  readonly #empty = h("div", "rw-dim rw-line");
  readonly #body = h("div", "rw-probe-body");
  readonly #erase = h("button", "rw-button", { type: "button" }, "Erase this direction");
  readonly #label = h("select", "rw-field", { "aria-label": "class" });
  readonly #doing = h("span", "rw-dim", { "aria-live": "polite" });
  readonly #causal = h("div", "rw-causal");
  readonly #sentence = h("div", "rw-dim rw-line");
  readonly #checks = h("div", "rw-check-groups");
  readonly #footer = h("span", "rw-provenance");
  readonly #test: HTMLElement;
  readonly #channel: Channel;
  #gone = false;
  #failure: string | null = null;
  #shown = "";
  #allChecks = false;

  constructor(
    private readonly model: PanelHost,
    el: HTMLElement,
    private readonly signal: AbortSignal,
  ) {
    this.#test = h("div", "rw-context-head", {}, this.#erase, this.#label, this.#doing);
    const foot = h("div", "rw-foot", {}, this.#checks, this.#footer);
    const inner = h("div", "rw-probe-inner", {}, this.#sentence, this.#heading, this.#empty, this.#body, this.#test);
    inner.append(this.#causal);
    this.root.append(this.#notices, inner, foot);
    this.#erase.addEventListener("click", () => this.#ask("erase", this.#label.value), { signal });
    this.#channel = new Channel(
      model as unknown as HostModel,
      () => this.refresh(),
      () => {},
    );
    signal.addEventListener("abort", () => this.#channel.close());
    followTraits(model, ["content", "status"], () => this.refresh(), signal);
    el.classList.add("rw-host");
    el.append(this.root);
    followTheme(this.root, () => {}, signal);
    watchKernel(el, model.widget_manager, () => this.#lost(), signal);
  }

  refresh(): void {
    if (this.signal.aborted) return;
    const content = this.model.get("content");
    const status = this.model.get("status") ?? { state: "ready", text: "" };
    const situation = {
      status,
      busy: this.#channel.busy,
      offline: false,
      gone: this.#gone,
      silent: this.#channel.silent && status.state !== "busy",
      failure: this.#failure,
      retry: () => this.#channel.retry(),
      dismiss: () => this.#fail(null),
    };
    this.#notices.replaceChildren(...noticesOf(situation, loud(content)).map(noticeElement));
    const busy = !this.#gone && (status.state === "busy" || this.#channel.busy);
    this.root.setAttribute("aria-busy", String(busy));
    setText(this.#doing, busy ? status.text || "waiting for Python…" : (content?.erase.hint ?? ""));
    this.#erase.disabled = this.#gone || busy || !content?.erase.enabled;
    this.#label.disabled = this.#gone || busy;
    const now = JSON.stringify([content, this.#allChecks]);
    if (now === this.#shown) return;
    this.#shown = now;
    this.#fill(content);
  }

  #fill(content: PanelContent | null): void {
    const empty = content?.empty ?? "Waiting for Python…";
    const more = () => {
      this.#allChecks = true;
      this.refresh();
    };
    setText(this.#sentence, content?.sentence ?? "");
    this.#checks.replaceChildren(...checkGroups(content?.checks ?? [], this.#allChecks, more));
    setText(this.#footer, printable(content?.footer ?? ""));
    setText(this.#heading, printable(content?.heading ?? ""));
    setText(this.#empty, empty);
    toggle(this.#empty, empty !== "");
    for (const part of [this.#body, this.#test, this.#causal]) toggle(part, empty === "");
    if (!content || empty) return;
    const { labels, label } = content;
    toggle(this.#label, labels.length > 0);
    this.#label.replaceChildren(
      ...labels.map((name) => h("option", "", { value: name, selected: name === label }, printable(name))),
    );
    const table = content.confusion && confusion(content.confusion);
    const wide = (content.confusion?.classes.length ?? 0) > NARROW;
    this.#body.replaceChildren(h("div", "", {}, numbers(content.rows), !wide && table), hardest(content.hardest));
    if (wide && table) {
      table.className = "rw-wide";
      this.#body.append(table);
    }
    this.#causal.replaceChildren(...(content.causal ? causal(content.causal) : []));
  }

  #ask(name: string, label: string): void {
    this.#failure = null;
    const request = { kind: "set", name, value: label } as const;
    this.#channel.ask(request, { failed: (text) => this.#fail(text) });
    this.refresh();
  }

  #fail(text: string | null): void {
    this.#failure = text;
    this.refresh();
  }

  #lost(): void {
    this.#gone = true;
    this.#channel.clear();
    this.refresh();
  }
}

/** The checks of each curve in a line of their own, under its name. */
function checkGroups(checks: readonly CurveCheck[], all: boolean, more: () => void): HTMLElement[] {
  return [...new Set(checks.map(({ of }) => of))].map((of) => {
    const own = checks.filter((check) => check.of === of);
    const name = of && h("span", "rw-check-of", {}, printable(of));
    const label = of ? `Checks of ${printable(of)}` : "Checks";
    return h(
      "div",
      "rw-check-group",
      {},
      name,
      h("div", "rw-checks", { role: "list", "aria-label": label }, ...checkItems(own, all, more)),
    );
  });
}

/** All checks, of the curves and of the causal test; what they are about is part of their text. */
function loud(content: PanelContent | null): Check[] {
  const named = (content?.checks ?? []).map(({ of, ...check }) => ({
    ...check,
    text: printable(of ? `${of}: ${check.text}` : check.text),
  }));
  return [...named, ...(content?.causal?.checks ?? [])];
}

const numbers = (rows: PanelContent["rows"]): HTMLElement =>
  h(
    "div",
    "rw-rows",
    {},
    ...rows.map(({ label, value }) =>
      h("div", "rw-row", {}, h("span", "rw-dim", {}, label), h("span", "rw-number", {}, printable(value))),
    ),
  );

/** Rows are true classes, columns what the probe said; the ground is the share of the row. */
function confusion({ classes, counts, shares }: NonNullable<PanelContent["confusion"]>): HTMLElement {
  const name = (text: string) => {
    const el = tokenSpan(printable(text));
    el.title = printable(text);
    return el;
  };
  const head = h(
    "tr",
    "",
    {},
    h("th", "rw-dim", { scope: "col" }, "true ↓ · predicted →"),
    ...classes.map((text) => h("th", "", { scope: "col" }, name(text))),
  );
  const rows = classes.map((text, i) =>
    h(
      "tr",
      "",
      {},
      h("th", "", { scope: "row" }, name(text)),
      ...(counts[i] ?? []).map((count, j) => {
        const share = shares[i]?.[j] ?? 0;
        const cell = h(
          "td",
          `rw-number${i === j ? " rw-right" : " rw-wrong"}`,
          { title: `${Math.round(100 * share)} % of the row` },
          count,
        );
        cell.style.setProperty("--rw-share", String(share));
        return cell;
      }),
    ),
  );
  const table = h("table", "rw-table rw-confusion", {}, h("thead", "", {}, head), h("tbody", "", {}, ...rows));
  return h(
    "div",
    "",
    {},
    h("div", "rw-heading", {}, "Confusions ", h("span", "rw-dim", {}, "held-out samples, mean over seeds")),
    h("div", "rw-confusion-scroll", { tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, table),
  );
}

function hardest(samples: readonly Sample[]): HTMLElement {
  const list = h("div", "rw-contexts", { role: "list", "aria-label": "Hardest samples" });
  for (const { label, predicted, score, share, tokens, center, cut, title } of samples) {
    const text = h("span", "rw-context-text", {}, cut[0] && ellipsis());
    tokens.forEach((token, i) => {
      const el = tokenSpan(printable(token));
      if (i === center) {
        el.classList.add("rw-center", (share ?? 0) < 0 ? "rw-above" : "rw-below"); // red is wrong
        el.style.setProperty("--rw-share", String(Math.min(1, Math.abs(share ?? 0))));
      }
      text.append(el);
    });
    if (cut[1]) text.append(ellipsis());
    list.append(
      h(
        "div",
        "rw-context rw-sample",
        { role: "listitem", title: printable(title) },
        h("span", "rw-number rw-dim", {}, score),
        text,
        h(
          "span",
          "rw-dim rw-said",
          {},
          "true ",
          tokenSpan(printable(label)),
          ", predicted ",
          tokenSpan(printable(predicted)),
        ),
      ),
    );
  }
  return h(
    "div",
    "",
    {},
    h(
      "div",
      "rw-heading",
      {},
      "Hardest samples ",
      h("span", "rw-dim", {}, samples.length ? "score of the true class first, worst on top" : "none are known"),
    ),
    list,
  );
}

/** How far the output moves: the probe's direction beside random ones, with the range of one more random one. */
function causal({ verdict, unit, effects, checks }: NonNullable<PanelContent["causal"]>): HTMLElement[] {
  const size = Math.max(...effects.flatMap((effect) => [effect.probe, effect.random, effect.random_high])) || 1;
  const lane = (name: string, value: number, told: string, until?: number) => {
    const bar = h("span", `rw-bar${until === undefined ? "" : " rw-was"}`);
    bar.style.setProperty("--rw-share", String(value / size));
    const end =
      until === undefined
        ? null
        : h("span", "rw-until", { title: "Upper end of the range in which 95\u00a0% of random directions lie" });
    end?.style.setProperty("--rw-share", String(until! / size));
    return h(
      "div",
      "rw-bar-row rw-effect",
      { role: "listitem" },
      h("span", "rw-dim", {}, name),
      h("span", "rw-bar-lane", { "aria-hidden": "true" }, bar, end),
      h("span", "rw-number", {}, told),
    );
  };
  const parts = effects.map((effect) => {
    const [probe, random] = effect.told;
    return h(
      "div",
      "",
      {},
      h("div", "rw-line", {}, effect.name),
      h(
        "div",
        "rw-bars",
        { role: "list" },
        lane("probe", effect.probe, probe),
        lane("random", effect.random, random, effect.random_high),
      ),
    );
  });
  return [
    h("div", "rw-verdict", { role: "status" }, printable(verdict)),
    h(
      "div",
      "rw-dim rw-line",
      {},
      `Mean size of the change in the ${printable(unit)}. The mark is the upper end of the range in which 95\u00a0% of random directions lie.`,
    ),
    h("div", "rw-causal-effects", {}, ...parts),
    h(
      "div",
      "rw-checks",
      { role: "list", "aria-label": "Checks of the causal test" },
      ...checkItems(checks, true, () => {}),
    ),
  ];
}

// The details of a probe at one layer, over a model of two traits. What it asks for goes to Python as messages.
import "../dom/theme.css";
import "../page/widget.css";
import "./neurons.css";
import "./probe_panel.css";
import { printable } from "../canvas/text";
import { h, setText, toggle } from "../dom/dom";
import { followTheme } from "../dom/theme";
import { noticeElement, noticesOf } from "../page/notices";
import { followTraits, shown } from "../page/view";
import { Channel } from "../wire/channel";
import { watchKernel } from "../wire/liveness";
import type { HostModel, Status } from "../wire/model";
import { causal, checkGroups, confusion, hardest, loud, numbers, type PanelContent } from "./probe_parts";

/** Confusions of more classes take the whole width. */
const NARROW = 3;

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

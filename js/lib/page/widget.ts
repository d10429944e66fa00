// A widget: parts in a frame, over a model. Reads traits, sends requests, keeps everything in step.
import "../dom/theme.css";
import "./frame.css";
import "./header.css";
import "./notices.css";
import "./side.css";
import "./footer.css";
import "./popups.css";
import "./narrow.css";
import { type Colours, followTheme } from "../dom/theme";
import { browserClock, Channel } from "../wire/channel";
import { Frames } from "../wire/frames";
import { watchKernel } from "../wire/liveness";
import type {
  Address,
  Answer,
  Control,
  ControlValue,
  ExportFormat,
  Frame,
  HostModel,
  Model,
  RenderContext,
  Request,
} from "../wire/model";
import { Optimistic } from "../wire/optimistic";
import { reactive } from "../wire/reactive";
import { bytes } from "../wire/wire";
import { Actions } from "./actions";
import { Controls, standing } from "./controls";
import { Editing } from "./editing";
import { download, localExports, pythonExports } from "./exports";
import { Inner } from "./inner";
import { hideKept } from "./kept";
import { Legend } from "./legend";
import { Menu } from "./menu";
import type { MakePart, Now, Part } from "./part";
import { Shell } from "./shell";
import { Side } from "./side";
import { followTraits, shown } from "./view";

const SELECTION = "selection";

/** Pictures by the trait value they came in: all views of one model share them. */
const frames = new Frames();

/** What an entry exports: a widget of these parts, in this order, each under the name of its data in a frame. */
export const widget = (parts: Record<string, MakePart>) => ({
  render: ({ model, el, signal, host }: RenderContext): (() => void) =>
    shown(signal, (own) => new WidgetView(model, el, own, host, parts)),
});

class WidgetView {
  readonly #shell: Shell;
  readonly #parts: Part[];
  readonly #controls: Controls;
  readonly #menu: Menu;
  readonly #channel: Channel;
  readonly #actions: Actions;
  readonly #inner: Inner;
  readonly #editing: Editing;
  readonly #side: Side;
  readonly #tellHost: (trait: keyof Model) => void;
  readonly #claims = new Optimistic(browserClock, () => this.#soon());
  #frame: Frame | null = null;
  #gone = false;
  #failure: string | null = null;
  #arrived: number | null = null;
  #queued = false;

  constructor(
    private readonly model: HostModel,
    el: HTMLElement,
    private readonly signal: AbortSignal,
    host: RenderContext["host"],
    parts: Record<string, MakePart>,
  ) {
    this.#channel = new Channel(
      model,
      () => this.#soon(),
      (...args) => this.#received(...args),
    );
    this.#tellHost = reactive(model, signal);
    this.#editing = new Editing({
      channel: () => this.#channel,
      confirmed: () => (this.#cut ? null : (model.get("edited") ?? null)),
      settled: (failure) => this.#fail(failure),
      changed: () => this.#soon(),
    });
    const own = {
      select: (at: Address) => this.#select(at),
      click: (...[at, place]: Parameters<Parameters<MakePart>[0]["click"]>) => {
        // The edit first: its picture is what the user waits for.
        const edits = this.#editing.possible;
        if (edits) this.#editing.toggle(place);
        this.#select(at, edits);
      },
      region: (...[places]: Parameters<Parameters<MakePart>[0]["region"]>) => this.#editing.fill(places),
      set: (control: string, value: ControlValue) => this.#set(control, value),
      signal,
    };
    this.#parts = Object.entries(parts).map(([name, make]) => make(own, name));
    this.#controls = new Controls((name, value) => this.#set(name, value), signal);
    this.#menu = new Menu("Export", signal);
    this.#actions = new Actions(
      (name) => this.#act(name),
      (text) => this.#fail(text),
      signal,
    );
    this.#inner = new Inner(host, (text) => this.#fail(text), signal);
    const legend = new Legend(this.#parts, () => this.root, signal);
    this.#shell = new Shell(this.#controls.el, this.#actions.el, this.#menu, legend, this.#inner.el, signal);
    this.#side = new Side(this.#shell.side, model, this.#parts, this.#editing);
    this.#shell.main.append(...this.#parts.map((part) => part.el));
    this.#shell.reset.addEventListener("click", () => this.#reset(), { signal });
    this.#shell.cancel.addEventListener("click", () => this.#channel.ask({ kind: "cancel" }), { signal });
    this.#actions.listen(this.#shell.root);
    signal.addEventListener("abort", () => this.#channel.close());
    followTraits(model, (trait) => this.#changed(trait), signal);
    el.classList.add("rw-host");
    el.append(this.#shell.root);
    hideKept(model.get("kept"));
    const recolour = (colours: Colours) => this.#parts.map((part) => part.recolour?.(colours));
    followTheme(this.#shell.root, recolour, signal);
    watchKernel(el, model.widget_manager, () => this.#lost(), signal);
  }

  get root(): HTMLElement {
    return this.#shell.root;
  }

  #changed(trait: keyof Model): void {
    this.#tellHost(trait);
    if (trait === "frame") this.#arrived ??= performance.now();
    if (trait === "selection") this.#claims.news(SELECTION, this.model.get("selection") ?? {});
    if (trait === "controls")
      for (const { name, value } of this.model.get("controls") ?? []) this.#claims.news(`set ${name}`, value);
    this.#soon();
  }

  /** Refresh once for all changes of this turn: some hosts apply one trait at a time. */
  #soon(): void {
    if (this.#queued || this.signal.aborted) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (!this.signal.aborted) this.refresh();
    });
  }

  refresh(): void {
    const arrived = this.#takeFrame();
    const selection = this.#claims.value(SELECTION, this.model.get("selection") ?? {});
    const details = () => this.#side.details(selection);
    const controls = standing(this.model.get("controls") ?? [], this.#claims);
    this.#showParts({
      frame: this.#frame,
      arrived,
      selection,
      details,
      edited: this.#editing.shown(this.model.get("edited") ?? []),
      editable: this.#editing.possible,
      cut: this.#cut,
      control: (name) => controls.find((control) => control.name === name)?.value,
    });
    this.#inner.show(this.model.get("inner") ?? null);
    this.#header(controls);
    this.#side.fill(selection, !this.#cut && this.#channel.busy);
    const status = this.model.get("status") ?? { state: "ready", text: "" };
    const empty = this.#parts.every((part) => part.empty);
    this.#shell.tell(this.#frame, empty, {
      status,
      busy: this.#channel.busy,
      offline: this.model.get("offline") ?? false,
      gone: this.#gone,
      // While Python says that it works on something, silence is no sign of anything.
      silent: this.#channel.silent && status.state !== "busy",
      failure: this.#failure,
      retry: () => this.#channel.retry(),
      dismiss: () => this.#fail(null),
    });
  }

  /** Take the newest frame, or ask for its bytes; until they are here the last picture stays. */
  #takeFrame(): number {
    const now = performance.now();
    const sent = this.model.get("frame");
    if (!sent?.parts) return now; // an empty one comes before the first picture
    const frame = frames.of(sent);
    if (!frame) {
      if (frames.shouldAsk(sent, now))
        this.#channel.ask({ kind: "frame", frame_id: sent.id }, { failed: (text) => this.#fail(text) });
      return now;
    }
    const arrived = this.#arrived ?? now;
    this.#arrived = null;
    if (frame !== this.#frame) this.#failure = null;
    this.#frame = frame;
    return arrived;
  }

  #showParts(now: Now): void {
    for (const part of this.#parts)
      try {
        part.refresh(now);
      } catch (error) {
        this.#failure = `The picture could not be read: ${error instanceof Error ? error.message : String(error)}`;
      }
  }

  #received(answer: Answer, buffers: readonly unknown[], mine: boolean): void {
    if (answer.kind === "file" && mine) download(answer.name, answer.mime, bytes(buffers[0]).slice());
    const frame = this.model.get("frame");
    if (answer.kind !== "frame" || !frame || answer.frame_id !== frame.id) return;
    this.#arrived = performance.now();
    try {
      frames.put(frame, answer.names, buffers);
    } catch (error) {
      this.#fail(`The picture could not be read: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#soon();
  }

  // What the user does: shown at once, sent, confirmed by trait.

  /** `beside`: it goes with something else, and what that is refused for is to stay on show. */
  #select(at: Address, beside = false): void {
    this.#claimed(SELECTION, at, { kind: "select", at }, beside);
  }

  #act(name: string): void {
    this.#editing.begin();
    this.#channel.ask({ kind: "act", name }, { failed: (text) => this.#fail(text) });
    this.#soon();
  }

  #set(name: string, value: ControlValue): void {
    this.#editing.begin();
    this.#claimed(`set ${name}`, value, { kind: "set", name, value });
  }

  /** Only Python knows the first state; with no Python, nothing selected is the nearest to it. */
  #reset(): void {
    for (const part of this.#parts) part.reset();
    this.#failure = null;
    this.#claims.clear();
    this.#editing.clear();
    if (this.#cut) this.#claims.claim(SELECTION, {});
    else this.#channel.ask({ kind: "reset" }, { failed: (text) => this.#fail(text) });
    this.#soon();
  }

  #claimed(name: string, value: unknown, request: Request, beside = false): void {
    const claim = this.#claims.claim(name, value);
    this.#soon();
    if (this.#cut) return;
    this.#channel.ask(request, {
      done: () => {
        if (!beside) this.#failure = null;
        claim.done();
      },
      failed: (text) => {
        claim.failed();
        this.#fail(text);
      },
    });
  }

  #fail(text: string | null): void {
    this.#failure = text;
    this.#soon();
  }

  #lost(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#channel.clear();
    this.#editing.clear();
    this.#soon();
  }

  /** There is no Python to ask. */
  get #cut(): boolean {
    return this.#gone || (this.model.get("offline") ?? false);
  }

  // What is shown around the parts.

  #header(controls: readonly Control[]): void {
    this.#controls.update(controls, this.#cut);
    this.#actions.update(this.model.get("actions") ?? [], this.#cut);
    const ask = (format: ExportFormat) =>
      void this.#channel.ask({ kind: "export", format }, { failed: (text) => this.#fail(text) });
    const title = this.#frame?.title ?? "";
    this.#menu.set(this.#cut ? localExports(title, this.#parts) : pythonExports(ask, title, this.#parts));
    this.#shell.reset.disabled = this.#menu.button.disabled = !this.#frame;
  }
}

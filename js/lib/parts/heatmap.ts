// A layer-by-token picture over a model: reads traits, sends requests, keeps every part of the widget in step.
import "../dom/theme.css";
import "../page/widget.css";
import type { Cell, Marks, Selected } from "../canvas/layout";
import { h, toggle } from "../dom/dom";
import { followTheme } from "../dom/theme";
import { Actions } from "../page/actions";
import { Controls } from "../page/controls";
import { download, localExports, pythonExports } from "../page/exports";
import { type Facts, facts } from "../page/facts";
import { Menu } from "../page/menu";
import { Shell } from "../page/shell";
import { offlineDetails, refill, sideContent } from "../page/side";
import { summaryContent } from "../page/summary";
import { followTraits, shown } from "../page/view";
import { browserClock, Channel } from "../wire/channel";
import { Edits } from "../wire/edits";
import { watchKernel } from "../wire/liveness";
import type {
  Answer,
  ControlValue,
  Details,
  ExportFormat,
  Frame,
  HostModel,
  Model,
  Place,
  RenderContext,
  Request,
} from "../wire/model";
import { Optimistic } from "../wire/optimistic";
import { bytes, type Grid, Grids } from "../wire/wire";
import { Plot } from "./plot";

const TRAITS: readonly (keyof Model)[] = [
  "frame",
  "layer",
  "pos",
  "details",
  "controls",
  "summary",
  "actions",
  "edited",
  "inner",
  "status",
  "offline",
  "planes",
];
const SELECTION = "selection";

type Selection = Pick<Model, "layer" | "pos">;

/** Pictures by the trait value they came in: all views of one model share them. */
const grids = new Grids();

/** What a widget shows below the picture, kept in step with it. */
export interface Part {
  el: HTMLElement;
  /**
   * Show the newest state, and return what it adds to the side panel. `details` are those of the selected cell, null
   * until they are known; `cut`: there is no Python to ask.
   */
  refresh(now: { grid: Grid | null; selected: Selected; details: Details | null; cut: boolean }): HTMLElement[];
  /** Return to the first view. */
  reset(): void;
}

/** Makes a part; it may select a cell, as a click does. */
export type MakePart = (select: (cell: Cell) => void, signal: AbortSignal) => Part;

/** Show a model in an element; returns the clean-up. Nothing outside the element is touched. */
export function heatmap({ model, el, signal, host }: RenderContext, makePart?: MakePart): () => void {
  return shown(signal, (own) => new HeatmapView(model, el, own, host, makePart));
}

class HeatmapView {
  readonly #shell: Shell;
  readonly #plot: Plot;
  readonly #controls: Controls;
  readonly #menu: Menu;
  readonly #channel: Channel;
  readonly #actions: Actions;
  readonly #part: Part | null;
  readonly #edits = new Edits();
  readonly #claims = new Optimistic(browserClock, () => this.#soon());
  #grid: Grid | null = null;
  #gone = false;
  #failure: string | null = null;
  #arrived: number | null = null;
  #shownInner: string | null = null;
  #innerEnd: AbortController | null = null;
  #queued = false;

  constructor(
    private readonly model: HostModel,
    el: HTMLElement,
    private readonly signal: AbortSignal,
    private readonly host: RenderContext["host"],
    makePart?: MakePart,
  ) {
    this.#plot = new Plot(
      {
        select: (cell, wide) => this.#click(cell, wide),
        region: (cells) =>
          this.#edit(() =>
            this.#edits.fill(
              cells.map((cell) => this.#place(cell)),
              this.#confirmed,
            ),
          ),
        reset: () => this.#select(null, null),
      },
      signal,
      makePart ? "fit" : "auto",
    );
    this.#controls = new Controls((name, value) => this.#set(name, value), signal);
    this.#menu = new Menu("Export", signal);
    this.#actions = new Actions(
      (name) => this.#act(name),
      (text) => this.#fail(text),
      signal,
    );
    this.#shell = new Shell(this.#controls.el, this.#actions.el, this.#menu.button, this.#menu.el);
    this.#shell.main.append(this.#plot.el);
    toggle(this.#plot.el, false);
    this.#part = makePart?.(({ row, col }) => this.#select(row, col), signal) ?? null;
    if (this.#part) this.#shell.main.append(this.#part.el);
    this.#shell.reset.addEventListener("click", () => this.#reset(), { signal });
    this.#shell.cancel.addEventListener("click", () => this.#channel.ask({ kind: "cancel" }), { signal });
    this.#channel = new Channel(
      model,
      () => this.#soon(),
      (...args) => this.#received(...args),
    );
    signal.addEventListener("abort", () => this.#channel.close());
    followTraits(model, TRAITS, (trait) => this.#changed(trait), signal);
    el.classList.add("rw-host");
    el.append(this.#shell.root);
    followTheme(this.#shell.root, (colours) => this.#plot.recolour(colours), signal);
    watchKernel(el, model.widget_manager, () => this.#lost(), signal);
  }

  get root(): HTMLElement {
    return this.#shell.root;
  }

  #changed(trait: keyof Model): void {
    if (trait === "frame") this.#arrived ??= performance.now();
    if (trait === "layer" || trait === "pos") this.#claims.news(SELECTION, this.#pythons());
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
    this.#takeFrame();
    const { layer, pos } = this.#shown();
    const selected = { row: this.#rowOf(layer), col: pos };
    const status = this.model.get("status") ?? { state: "ready", text: "" };
    this.#plot.select(selected);
    this.#plot.edit(this.#outlined(), this.#editable);
    this.#showInner();
    this.#header();
    this.#side(selected);
    this.#shell.tell(this.#grid, {
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

  /** Decode and draw the newest frame, or ask for its bytes; until they are here the last picture stays. */
  #takeFrame(): void {
    const frame = this.model.get("frame");
    if (!frame?.shape || frame === this.#grid?.frame) return; // an empty one comes before the first picture
    const arrived = this.#arrived ?? performance.now();
    this.#arrived = null;
    try {
      const grid = grids.of(frame);
      if (grid) this.#draw(grid, arrived);
      else if (grids.shouldAsk(frame, performance.now())) this.#askFor(frame);
    } catch (error) {
      this.#failure = `The picture could not be read: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  #askFor(frame: Frame): void {
    this.#channel.ask({ kind: "frame", frame_id: frame.id }, { failed: (text) => this.#fail(text) });
  }

  #draw(grid: Grid, arrived: number): void {
    this.#grid = grid;
    this.#failure = null;
    const { layer, pos } = this.#shown();
    toggle(this.#plot.el, grid.values.length > 0); // before drawing: what is hidden has no size
    this.#plot.show(grid, { row: this.#rowOf(layer), col: pos }, arrived);
  }

  #received(answer: Answer, buffers: readonly unknown[], mine: boolean): void {
    if (answer.kind === "file" && mine) download(answer.name, answer.mime, bytes(buffers[0]).slice());
    const frame = this.model.get("frame");
    if (answer.kind !== "frame" || !frame || answer.frame_id !== frame.id) return;
    this.#arrived = performance.now();
    try {
      grids.put(frame, answer.names, buffers);
    } catch (error) {
      this.#fail(`The picture could not be read: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#soon();
  }

  // What the user does: shown at once, sent, confirmed by trait.

  /** `beside`: it goes with something else, and what that is refused for is to stay on show. */
  #select(row: number | null, col: number | null, beside = false): void {
    const layer = row === null ? null : (this.#grid?.frame.rows[row] ?? row);
    this.#claimed(SELECTION, { layer, pos: col }, { kind: "select", layer, pos: col }, beside);
  }

  #click(cell: Cell, wide: boolean): void {
    const place = this.#place(cell, wide);
    // The edit first: its picture is what the user waits for.
    const edits = this.#editable;
    if (edits) this.#edit(() => this.#edits.toggle(place, this.#confirmed));
    this.#select(cell.row, cell.col, edits);
  }

  /** Change what is wanted, show it, and send all that is not confirmed. */
  #edit(change: () => void): void {
    if (!this.#editable) return;
    change();
    const request = this.#edits.request();
    this.#soon();
    this.#channel.ask(request, {
      done: () => {
        this.#failure = null;
        this.#edits.settle(request);
      },
      failed: (text) => {
        this.#edits.settle(request);
        this.#fail(text);
      },
    });
  }

  /** Show another widget below this one, where the host can. */
  #showInner(): void {
    const ref = this.model.get("inner") ?? null;
    if (ref === this.#shownInner) return;
    this.#shownInner = ref;
    this.#innerEnd?.abort();
    this.#shell.inner.replaceChildren();
    if (ref === null) return;
    const end = new AbortController();
    this.#innerEnd = end;
    this.signal.addEventListener("abort", () => end.abort());
    const into = h("div");
    this.#shell.inner.append(into);
    const asked = this.host?.getWidget?.(ref);
    if (!asked) this.#fail("This host shows no widget inside another one. In a cell of its own: w.explorer");
    else
      asked
        .then((widget) => widget.render({ el: into, signal: end.signal }))
        .catch((error: unknown) => this.#fail(`The explorer could not be shown here: ${error}. In a cell: w.explorer`));
  }

  #act(name: string): void {
    this.#edits.begin();
    this.#channel.ask({ kind: "act", name }, { failed: (text) => this.#fail(text) });
    this.#soon();
  }

  #set(name: string, value: ControlValue): void {
    this.#edits.begin();
    this.#claimed(`set ${name}`, value, { kind: "set", name, value });
  }

  /** Only Python knows the first state; with no Python, nothing selected is the nearest to it. */
  #reset(): void {
    this.#plot.resetView();
    this.#part?.reset();
    this.#failure = null;
    this.#claims.clear();
    this.#edits.clear();
    if (this.#cut) this.#claims.claim(SELECTION, { layer: null, pos: null });
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
    this.#edits.clear();
    this.#soon();
  }

  /** There is no Python to ask. */
  get #cut(): boolean {
    return this.#gone || (this.model.get("offline") ?? false);
  }

  #pythons(): Selection {
    return { layer: this.model.get("layer") ?? null, pos: this.model.get("pos") ?? null };
  }

  #shown(): Selection {
    return this.#claims.value(SELECTION, this.#pythons());
  }

  get #confirmed(): readonly Place[] {
    return this.model.get("edited") ?? [];
  }

  get #editable(): boolean {
    return !this.#cut && Array.isArray(this.model.get("edited"));
  }

  #place({ row, col }: Cell, wide = false): Place {
    return [this.#grid?.frame.rows[row] ?? row, wide ? null : col];
  }

  #outlined(): Marks["edited"] {
    return this.#edits.shown(this.#confirmed).flatMap(({ place: [layer, col], state }) => {
      const row = this.#rowOf(layer);
      return row === null ? [] : [{ row, col, state }];
    });
  }

  #rowOf(layer: number | null): number | null {
    if (layer === null || !this.#grid) return null;
    const row = this.#grid.frame.rows.indexOf(layer);
    return row < 0 ? null : row;
  }

  // What is shown around the picture.

  #header(): void {
    const controls = (this.model.get("controls") ?? []).map((control) => ({
      ...control,
      value: this.#claims.value(`set ${control.name}`, control.value),
    }));
    this.#controls.update(controls, this.#cut);
    this.#actions.update(this.model.get("actions") ?? [], this.#cut);
    const ask = (format: ExportFormat) =>
      void this.#channel.ask({ kind: "export", format }, { failed: (text) => this.#fail(text) });
    this.#menu.set(this.#cut ? localExports(this.#grid, () => this.#plot.image()) : pythonExports(ask));
    this.#shell.reset.disabled = this.#menu.button.disabled = !this.#grid;
  }

  #side({ row, col }: Selected): void {
    const grid = this.#grid;
    const known: Facts | null =
      grid && row !== null && col !== null && col < grid.cols ? facts(grid, { row, col }) : null;
    const sent = this.model.get("details");
    const planes = this.model.get("planes");
    const status = this.model.get("status");
    // While a picture fills, Python's details are those of the last whole one.
    const fills = status?.state === "busy" && status.progress !== undefined;
    const mine = known && sent && !fills && sent.layer === known.layer && sent.pos === known.pos ? sent : null;
    const details =
      mine ?? (grid && known && row !== null && col !== null ? offlineDetails(planes, grid, row, col) : null);
    const more = this.#part?.refresh({ grid, selected: { row, col }, details, cut: this.#cut }) ?? [];
    const summary = this.model.get("summary") ?? null;
    const above = summary
      ? summaryContent({
          summary,
          going: (id) => this.#edits.isDropped(id),
          drop: this.#editable ? (id) => this.#edit(() => this.#edits.drop(id)) : null,
        })
      : [];
    const waiting = !details && !this.#cut && this.#channel.busy;
    const below = summary && !known ? [] : sideContent({ facts: known, details, waiting });
    refill(this.#shell.side, [...above, ...below, ...more]);
  }
}

// What travels between Python and the front-end. Names are Python's, letter for letter.

/** The synced traits. Only Python writes them; a test on the Python side holds these keys against its class. */
export interface Model {
  frame: Frame | null;
  /** What is selected; empty where nothing is. */
  selection: Address;
  details: Details | null;
  controls: Control[];
  summary: Summary | null;
  actions: Action[];
  /** The cells that are changed, for a picture whose clicks change something; a column of null is a whole row. */
  edited?: Place[] | null;
  /** Reference of a widget that is shown below this one. */
  inner: string | null;
  status: Status;
  offline: boolean;
  /** Name of the picture that a saved notebook keeps; none in an exported page. */
  kept?: string;
  planes?: Planes | null;
}

/** Names what is selected in any picture: `layer`, `pos`, `head`, `neuron`, `component`, `token`, ... */
export type Address = Readonly<Record<string, number | string>>;

/** A binary value as a host hands it over; see wire.ts for what is accepted. Null: fetched by message. */
export type Buffer = ArrayBuffer | ArrayBufferView | null;

/** How values become colours; null limits mean that nothing finite was there. */
export interface Scale {
  kind: "sequential" | "diverging";
  low: number | null;
  high: number | null;
  under: boolean;
  over: boolean;
  label: string;
  units: string;
}

export interface Check {
  name: string;
  level: "green" | "amber" | "red";
  value: number | null;
  limit: number | null;
  text: string;
  /** What it is about, where a picture shows several things. */
  of?: string;
}

/** One picture, atomic: what its parts show and what is said around them can never disagree. */
export interface Frame {
  id: number;
  title: string;
  sentence: string;
  footer: string;
  checks: Check[];
  /** Paths of the buffers in `parts`, in the order in which a message carries them: "heatmap.data", ... */
  buffers: string[];
  /** What each part shows, by the name that the entry gives it. */
  parts: Record<string, unknown>;
}

/** A heat map. Row 0 is the lowest layer, drawn at the bottom. */
export interface HeatmapData {
  shape: [number, number];
  dtype: "float32";
  data: Buffer;
  /** Names of row and column in an address. */
  axes: [string, string];
  rows: number[];
  /** Numbers of the columns, where they are not counted from 0. */
  cols: number[] | null;
  row_name: string;
  /** What a column is, where it is no position. */
  column_name?: string;
  tokens: string[];
  marked: number[];
  unknown: number[];
  scale: Scale;
  text: { strings: string[]; index: Buffer } | null;
  top: { k: number; strings: string[]; index: Buffer; probs: Buffer } | null;
  /** Further numbers of each cell: labels, and a buffer under each one's place in them. */
  also: ({ labels: string[] } & { [place: string]: Buffer | string[] }) | null;
}

/** A text for each cell of the heat map, for a table beside it; `column` heads the picture's own number there. */
export interface TableData {
  column: string;
  strings: string[];
  index: Buffer;
}

/** A likely token; the probability is null where it is no number. */
export interface TopToken {
  token: string;
  prob: number | null;
}

export interface Details {
  /** What they are of. */
  at: Address;
  heading?: string;
  rows: { label: string; value: string }[];
  top: TopToken[];
  /** What the bars of `top` are, as a heading. */
  top_label?: string;
  neuron?: NeuronDetails;
  writes?: Writes;
  /** Further bars below, each under its heading. */
  sections?: Section[];
}

/** Tokens whose logits a part of the stream moves most, with what it adds to them. */
export interface Writes {
  /** Heading, the token where it is written, and the unit. */
  told: [string, string, string];
  tokens: { token: string; value: number }[];
}

/** Signed bars with their numbers; `none` stands in their place where there are none. */
export interface Section {
  heading: string;
  note: string;
  none: string;
  /** `share` is from -1 to 1. */
  bars: { name: string; share: number; text: string }[];
}

/** A piece of a prompt (null: the user's own text) with one neuron's activation at each token. */
export interface NeuronText {
  prompt: number | null;
  /** Position of the first token. */
  start: number;
  tokens: string[];
  activations: (number | null)[];
  /** Places in `tokens` that statistics leave out. */
  marked: number[];
}

/** One position of a prompt: `text` is a place in `texts`. */
export interface NeuronContext {
  kind: "top" | "bottom" | "sample";
  text: number;
  pos: number;
  activation: number;
}

/** What a neuron answers to. */
export interface NeuronDetails {
  /** Of the histogram; one more edge than counts. */
  counts: number[];
  edges: number[];
  texts: NeuronText[];
  contexts: NeuronContext[];
  /** Tokens shown to either side. */
  around: number;
  own: NeuronText | null;
  effects: { token: string; value: number; side: "promoted" | "suppressed" }[];
  /** How many of the prompts were drawn at random and kept whole. */
  sampled: number;
  prompts: number;
}

export type ControlValue = string | number | boolean | null;

export interface Control {
  name: string;
  label: string;
  kind: "select" | "choice" | "check" | "number" | "text";
  value: ControlValue;
  options?: (string | number | { value: string | number; label: string })[];
  min?: number;
  max?: number;
  visible: boolean;
  /** A line of text that gets a line of its own. */
  wide?: boolean;
  hint?: string;
  /** Stands in an empty line of text. */
  placeholder?: string;
  /** Why `value` is not in use: it was typed, and does not fit. */
  refused?: string;
}

export interface Status {
  state: "ready" | "busy" | "cancelled" | "error";
  text: string;
  detail?: string;
  /** Share of the work that is done, where that is known. */
  progress?: number;
}

/** A cell by its layer (or other row number) and column; null for the whole row. */
export type Place = [number, number | null];

/** What the side panel says whatever is selected. */
export interface Summary {
  /** A metric: its name, its value now and before, and the change in words. */
  name: string;
  now: string;
  before: string;
  change: string;
  direction: -1 | 0 | 1;
  /** Next tokens with their probabilities. */
  compared: { token: string; before: number | null; after: number | null }[];
  /** What is active; `left` more are not listed. */
  chips: { id: string; label: string; token: string; place: string }[];
  count: number;
  left: number;
  note: string;
  /** What can be done, while nothing is active. */
  hint?: string;
}

/** A button in the header: asks Python, or puts a text on the clipboard. */
export interface Action {
  name: string;
  label: string;
  enabled: boolean;
  hint: string;
  copies: string | null;
}

/** What an exported page needs to fill the side panel with no kernel: one number for each label in each cell. */
export interface Planes {
  labels: string[];
  shape: [number, number, number];
  data: Buffer;
  formats: string[];
  /** The whole details of some cells. */
  known?: Details[];
}

/** Messages from the front-end, each with an `id` of its own. */
export type Request =
  | { kind: "select"; at: Address }
  | { kind: "set"; name: string; value: ControlValue }
  | { kind: "reset" }
  | { kind: "cancel" }
  | { kind: "act"; name: string }
  | { kind: "edit"; batch: number; on: Place[]; off: Place[]; drop: string[] }
  | { kind: "frame"; frame_id: number }
  | { kind: "export"; format: ExportFormat };

export type ExportFormat = "png" | "svg" | "csv" | "html";

/** Messages from Python: every request is answered once. */
export type Answer =
  | { kind: "done"; id: number }
  | { kind: "error"; id: number; text: string }
  | { kind: "frame"; id: number; frame_id: number; names: string[] }
  | { kind: "file"; id: number; name: string; mime: string };

/** The model as any widget host gives it (the subset used here). */
export interface HostModel {
  get<K extends keyof Model>(name: K): Model[K];
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): unknown;
  set?<K extends keyof Model>(name: K, value: Model[K]): void;
  save_changes?(): void;
  widget_manager?: unknown;
}

export interface RenderContext {
  model: HostModel;
  el: HTMLElement;
  signal?: AbortSignal;
  /** Gives other widgets by reference, where the host can. */
  host?: { getWidget?(ref: string): Promise<{ render(into: { el: HTMLElement; signal: AbortSignal }): unknown }> };
}

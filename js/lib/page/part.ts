// What a widget shows in its frame: parts, one below the other, each with this one interface.
import type { Colours } from "../dom/theme";
import type { Outlined } from "../wire/edits";
import type { Address, ControlValue, Details, Frame, Place, Planes } from "../wire/model";
import type { Facts } from "./facts";
import type { Entry } from "./terms";

/** How things stand; a part shows what it can of it, and ignores the rest. */
export interface Now {
  /** The newest picture with its bytes, or null before there is one. */
  frame: Frame | null;
  /** When the news of it came (performance.now()), for measures. */
  arrived: number;
  selection: Address;
  /** Details of the selection; null until they are known. The parts before this one are in step by then. */
  details(): Details | null;
  /** Cells that clicks have changed. */
  edited: readonly Outlined[];
  /** Whether clicks change something. */
  editable: boolean;
  /** There is no Python to ask. */
  cut: boolean;
  /** What a control stands at, or what the user has just set it to. */
  control(name: string): ControlValue | undefined;
}

/** A file that a part makes with no kernel. */
export interface LocalFile {
  label: string;
  /** Ending and kind: "PNG", "SVG", "CSV". */
  hint: string;
  mime: string;
  make(): Promise<BlobPart | null>;
}

export interface Part {
  readonly el: HTMLElement;
  /** Show the newest state. @throws where its data cannot be read; the last picture then stays */
  refresh(now: Now): void;
  /** Return to the first view. */
  reset(): void;
  /** Nothing is there to be drawn. */
  readonly empty?: boolean;
  /** In the side panel while nothing is selected: what can be done. There is no such panel where no part has this. */
  readonly hint?: string;
  recolour?(colours: Colours): void;
  /** What is to be said of an address; null where the part does not show it. */
  facts?(at: Address): Facts | null;
  /** Details of an address from what an exported page carries. */
  told?(at: Address, planes: Planes): Details | null;
  /** What it adds to the side panel. */
  more?(): HTMLElement[];
  /** What its numbers are, as its scale says. */
  readonly measured?: string;
  /** The signs that are on show now, for the legend. */
  signs?(): readonly Entry[];
  /** Its files are of something that Python's are not of. */
  readonly apart?: boolean;
  /** What it leaves as files. */
  files?(): LocalFile[];
}

/** What a part may ask of the widget. */
export interface PartHost {
  /** Select, as a click does; an empty address selects nothing. */
  select(at: Address): void;
  /** A click that selects and, where clicks change something, changes a place. */
  click(at: Address, place: Place): void;
  /** Change several places at once. */
  region(places: readonly Place[]): void;
  /** Change an option, as a control of the header does that need not be on show. */
  set(name: string, value: ControlValue): void;
  /** Ends with the view. */
  signal: AbortSignal;
}

/** Makes a part. `name` is what the entry calls it, under which its data stands in a frame. */
export type MakePart = (host: PartHost, name: string) => Part;

/** A part's own data in a frame. */
export const dataOf = <Data>(frame: Frame | null, name: string): Data | null => (frame?.parts[name] as Data) ?? null;

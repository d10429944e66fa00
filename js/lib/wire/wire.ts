// Binary values: from whatever buffer object a host hands over to checked typed arrays.
import type { Frame, Planes } from "./model";

/** A picture whose bytes are here, ready to draw. `values[row * cols + col]`, row 0 = layer 0. */
export interface Grid {
  frame: Frame;
  rows: number;
  cols: number;
  values: Float32Array;
  /** Index into `frame.text.strings` for each cell. */
  text: Uint32Array | null;
  /** Index into `frame.top.strings` and probability for each cell and rank. */
  top: { k: number; index: Uint32Array; probs: Float32Array } | null;
  also: { label: string; values: Float32Array }[];
  /** Index into `frame.words.strings` for each cell. */
  words: Uint32Array | null;
  marked: ReadonlySet<number>;
  unknown: ReadonlySet<number>;
}

/** Bytes of a DataView, typed array or ArrayBuffer of any realm (`instanceof` fails across frames). */
export function bytes(value: unknown): Uint8Array {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const tag = Object.prototype.toString.call(value);
  if (tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]")
    return new Uint8Array(value as ArrayBuffer);
  throw new TypeError(`binary data was expected, got ${value === null ? "null" : typeof value}`);
}

/** Bytes that start on a multiple of four, as typed arrays need; copied only where they do not. */
function aligned(value: unknown, count: number, name: string): Uint8Array {
  const view = bytes(value);
  if (view.byteLength !== count * 4)
    throw new RangeError(`${name}: ${count} values need ${count * 4} bytes, ${view.byteLength} came`);
  return view.byteOffset % 4 === 0 ? view : view.slice();
}

export function float32(value: unknown, count: number, name = "data"): Float32Array {
  const view = aligned(value, count, name);
  return new Float32Array(view.buffer, view.byteOffset, count);
}

export function uint32(value: unknown, count: number, name = "index"): Uint32Array {
  const view = aligned(value, count, name);
  return new Uint32Array(view.buffer, view.byteOffset, count);
}

/** Bytes of base64 text, as exported pages carry them. */
export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

/** The value with every `{"__buffer__": base64}` inside it replaced by its bytes. */
export function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value);
  if (entries.length === 1 && entries[0]?.[0] === "__buffer__") return fromBase64(String(entries[0][1]));
  return Object.fromEntries(entries.map(([key, item]) => [key, revive(item)]));
}

/** The bytes of a frame by name, from the trait itself or from the message that brought them. */
type Named = (name: string, inTrait: unknown) => unknown;

/** True where the trait carries no bytes: they have to be asked for. */
export const needsBytes = (frame: Frame): boolean => frame.data === null || frame.data === undefined;

/**
 * Check and decode a frame.
 *
 * @param sent what a message brought, by name, for a frame whose trait carries no bytes
 * @throws RangeError or TypeError, with the name of what does not fit
 */
export function decode(frame: Frame, sent?: ReadonlyMap<string, unknown>): Grid {
  const [rows, cols] = frame.shape;
  if (frame.dtype !== "float32") throw new TypeError(`values are ${frame.dtype}, float32 was expected`);
  if (frame.rows.length !== rows || frame.tokens.length !== cols)
    throw new RangeError(`a ${rows} x ${cols} picture came with ${frame.rows.length} x ${frame.tokens.length} labels`);
  const named: Named = (name, inTrait) => sent?.get(name) ?? inTrait;
  const cells = rows * cols;
  const { text, top } = frame;
  return {
    frame,
    rows,
    cols,
    values: float32(named("data", frame.data), cells, "data"),
    text: text && uint32(named("text.index", text.index), cells, "text.index"),
    top: top && {
      k: top.k,
      index: uint32(named("top.index", top.index), cells * top.k, "top.index"),
      probs: float32(named("top.probs", top.probs), cells * top.k, "top.probs"),
    },
    also: (frame.also?.labels ?? []).map((label, i) => ({
      label,
      values: float32(named(`also.${i}`, frame.also?.[i]), cells, `also.${i}`),
    })),
    words: frame.words ? uint32(named("words.index", frame.words.index), cells, "words.index") : null,
    marked: new Set(frame.marked),
    unknown: new Set(frame.unknown),
  };
}

/** The numbers of the side panel of an exported page for one cell, by label. */
export function planeValues(planes: Planes, row: number, col: number): Float32Array {
  const [rows, cols, n] = planes.shape;
  const all = float32(planes.data, rows * cols * n, "planes");
  return all.subarray((row * cols + col) * n, (row * cols + col + 1) * n);
}

/**
 * Decoded pictures, kept as long as the host keeps the trait's value. Every view of one model sees the same value, so
 * a second view or a re-render finds the bytes here and needs no kernel.
 */
export class Grids {
  readonly #known = new WeakMap<Frame, Grid>();
  readonly #asked = new WeakMap<Frame, number>();

  /** The grid, or null where its bytes have to be asked for first. */
  of(frame: Frame): Grid | null {
    const known = this.#known.get(frame);
    if (known || needsBytes(frame)) return known ?? null;
    return this.#keep(frame, decode(frame));
  }

  /** Take the bytes that a message brought. */
  put(frame: Frame, names: readonly string[], buffers: readonly unknown[]): Grid {
    if (names.length !== buffers.length) throw new RangeError(`${names.length} buffers named, ${buffers.length} came`);
    return this.#keep(frame, decode(frame, new Map(names.map((name, i) => [name, buffers[i]]))));
  }

  /** True once in each `patience` ms: several views of one model then send one request. */
  shouldAsk(frame: Frame, now: number, patience = 4000): boolean {
    const last = this.#asked.get(frame);
    if (last !== undefined && now - last < patience) return false;
    this.#asked.set(frame, now);
    return true;
  }

  #keep(frame: Frame, grid: Grid): Grid {
    this.#known.set(frame, grid);
    return grid;
  }
}

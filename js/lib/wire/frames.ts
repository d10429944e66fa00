// Pictures by the trait value that they came in, with their bytes: in it, or brought by a message.
import type { Frame } from "./model";

const isEmpty = (value: unknown): boolean => value === null || value === undefined;

/** The value at a path of names. */
const at = (parts: unknown, path: string): unknown =>
  path.split(".").reduce<unknown>((value, name) => (value as Record<string, unknown> | null)?.[name], parts);

/** Nested plain data with `value` at a path; what stays is shared. */
function put(parts: unknown, path: readonly string[], value: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  const whole = (parts ?? {}) as Record<string, unknown>;
  return { ...whole, [name]: put(whole[name], rest, value) };
}

/** True where the trait carries no bytes: they have to be asked for. */
export const needsBytes = (frame: Frame): boolean => frame.buffers.some((path) => isEmpty(at(frame.parts, path)));

/**
 * Whole pictures, kept as long as the host keeps the trait's value. Every view of one model sees the same value, so a
 * second view or a re-render finds the bytes here and needs no kernel.
 */
export class Frames {
  readonly #known = new WeakMap<Frame, Frame>();
  readonly #asked = new WeakMap<Frame, number>();

  /** The frame with its bytes, or null where they have to be asked for first. */
  of(frame: Frame): Frame | null {
    return this.#known.get(frame) ?? (needsBytes(frame) ? null : frame);
  }

  /** Take the bytes that a message brought. */
  put(frame: Frame, names: readonly string[], buffers: readonly unknown[]): Frame {
    if (names.length !== buffers.length) throw new RangeError(`${names.length} buffers named, ${buffers.length} came`);
    const parts = names.reduce<unknown>((made, name, i) => put(made, name.split("."), buffers[i]), frame.parts);
    const whole = { ...frame, parts: parts as Frame["parts"] };
    this.#known.set(frame, whole);
    return whole;
  }

  /** True once in each `patience` ms: several views of one model then send one request. */
  shouldAsk(frame: Frame, now: number, patience = 4000): boolean {
    const last = this.#asked.get(frame);
    if (last !== undefined && now - last < patience) return false;
    this.#asked.set(frame, now);
    return true;
  }
}

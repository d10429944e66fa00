// Binary values: from whatever buffer object a host hands over to checked typed arrays.

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

// A small frame and a small heat map for tests; every field can be changed.
import type { Frame, HeatmapData } from "../lib/wire/model";

export const numbers = Float32Array.from([1.5, -2, Number.NaN, Number.POSITIVE_INFINITY, 0, 7]);

export const heatmapOf = (over: Partial<HeatmapData> = {}): HeatmapData => ({
  shape: [2, 3],
  dtype: "float32",
  data: new DataView(numbers.buffer),
  axes: ["layer", "pos"],
  rows: [0, 1],
  cols: null,
  row_name: "layer",
  tokens: ["a", "b", "c"],
  marked: [0],
  unknown: [],
  scale: { kind: "sequential", low: 0, high: 1, under: false, over: false, label: "norm", units: "" },
  text: null,
  top: null,
  also: null,
  ...over,
});

export const frameOf = (parts: Frame["parts"], buffers: string[]): Frame => ({
  id: 1,
  title: "",
  sentence: "",
  footer: "",
  checks: [],
  buffers,
  parts,
});

/** The same bytes, starting `shift` bytes into a larger buffer. */
export const shifted = (values: Float32Array | Uint32Array, shift: number): DataView => {
  const room = new Uint8Array(values.byteLength + shift + 3);
  room.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), shift);
  return new DataView(room.buffer, shift, values.byteLength);
};

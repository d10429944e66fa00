// A small frame for tests; every field can be changed.
import type { Frame } from "../lib/wire/model";

export const numbers = Float32Array.from([1.5, -2, Number.NaN, Number.POSITIVE_INFINITY, 0, 7]);

export const frameOf = (over: Partial<Frame> = {}): Frame => ({
  id: 1,
  shape: [2, 3],
  dtype: "float32",
  data: new DataView(numbers.buffer),
  buffers: ["data"],
  rows: [0, 1],
  row_name: "layer",
  tokens: ["a", "b", "c"],
  marked: [0],
  unknown: [],
  scale: { kind: "sequential", low: 0, high: 1, under: false, over: false, label: "norm", units: "" },
  text: null,
  top: null,
  also: null,
  title: "",
  sentence: "",
  footer: "",
  checks: [],
  ...over,
});

// All heads as they travel, decoded; what is said of them, and their table.
import type { Buffer, Scale } from "../wire/model";
import { bytes, float32, uint32 } from "../wire/wire";
import type { Thumbs } from "./thumb_paint";

/** All heads as they travel; lists have one entry a head. */
export interface HeadsData {
  layers: number[];
  heads: number[];
  side: number;
  block: number;
  n: number;
  pictures: Buffer;
  scale: Scale;
  /** Which of `labels` stands under each head. */
  score: number;
  labels: string[];
  /** What each of them is, in a few words. */
  says: string[];
  /** `[score, head]`. */
  numbers: Buffer;
  sort: boolean;
  order: Buffer;
  causal: boolean;
  note: string;
  ablated: [number, number][];
}

export interface Decoded extends Thumbs {
  data: HeadsData;
  /** Of each score. */
  numbers: Float32Array[];
  order: Uint32Array | null;
}

export function decodeHeads(data: HeadsData): Decoded {
  const count = data.heads.length;
  const all = float32(data.numbers, data.labels.length * count, "numbers");
  const numbers = data.labels.map((_, i) => all.subarray(i * count, (i + 1) * count));
  const pictures = bytes(data.pictures);
  if (pictures.length !== count * data.side ** 2) throw new RangeError(`${count} pictures in ${pictures.length} bytes`);
  const off = new Set(data.ablated.map(([layer, head]) => `${layer}.${head}`));
  return {
    data,
    layers: data.layers,
    heads: data.heads,
    side: data.side,
    pictures,
    scale: data.scale,
    causal: data.causal,
    values: numbers[data.score] ?? new Float32Array(count),
    numbers,
    order: data.sort ? uint32(data.order, count, "order") : null,
    ablated: new Set(data.heads.flatMap((head, n) => (off.has(`${data.layers[n]}.${head}`) ? [n] : []))),
  };
}

export function noteOf({ block, n }: HeadsData): string {
  return block > 1 ? `A pixel is the largest weight of ${block} x ${block} of ${n} positions` : "";
}

/** One row a head with all its numbers. */
export function headsCsv({ data, numbers, layers, heads }: Decoded): string {
  const names = data.labels.map((label) => label.replaceAll(" ", "_"));
  const rows = heads.map((head, n) => [layers[n], head, ...numbers.map((of) => of[n])].join(","));
  return [`layer,head,${names.join(",")}`, ...rows].join("\n");
}

// The words of the field that a widget uses, each in a sentence.

/** A sign or word, and what it means. */
export type Entry = readonly [sign: string, meaning: string];

const TERMS: readonly (readonly [word: RegExp, ...entry: Entry])[] = [
  [
    /\bresid_(pre|mid|post)\b/,
    "resid_pre, resid_mid, resid_post",
    "The stream before a layer, between its attention and its MLP, and after it.",
  ],
  [/\b(attn|mlp)_out\b/, "attn_out, mlp_out", "What attention, or the MLP, of a layer adds to the stream."],
  [/\bmlp_post\b/, "mlp_post", "The neurons of a layer's MLP, after the activation function."],
  [/\brank/i, "rank", "How many tokens are likelier: 0 is the likeliest."],
  [/\bentropy/i, "entropy", "How undecided a prediction is, in nats: 0 is certain."],
  [/\bKL\b/, "KL", "How far one prediction is from another, in nats: 0 is the same."],
  [/\bcosine/i, "cosine", "Whether two vectors point the same way: 1 the same, 0 across, \u22121 opposite."],
  [/\bkurtosis/i, "kurtosis", "How much a few dimensions stand out: 3 is a bell curve's."],
  [/\bLogit lens\b/i, "logit lens", "The model's own output layer, read off the stream in the middle."],
  [
    /\blogit(_diff|\[| difference)/i,
    "logit difference",
    "The answer's logit less the foil's: above 0 the answer is the likelier.",
  ],
  [
    /\b(denoise|noise) ·|1 = clean/,
    "effect",
    "1 is as in the clean run, 0 as in the corrupt one; it is never cut off.",
  ],
  [/\bdenoise\b/, "denoise", "Clean values put into the corrupt run: is this place enough?"],
  [/\bcorrupt into clean\b/, "noise", "Corrupt values put into the clean run: is this place needed?"],
  [/\bpatch/i, "patch", "Put what stands here in another run."],
  [
    /\bmean\b.*\bzero\b|\bablat/i,
    "ablate",
    "Replace what stands here by its mean, by zeros or by noise, and see what changes.",
  ],
  [/\bresample\b/, "resample", "Replace by what stands there in another prompt."],
  [/\bauroc\b/i, "AUROC", "How well one number alone tells two labels apart: 0.5 not at all, 0 and 1 always."],
  [
    /\bselectivity\b/i,
    "selectivity",
    "A probe's score less its score on random labels: what it does not learn by heart.",
  ],
  [/\bcontrol\b.*\bselectivity|\bcontrol task\b/i, "control", "The same probe on random labels for the same words."],
  [/\bshuffled\b/i, "shuffled", "The same probe with the labels shuffled."],
];

/** The entries whose word is in a text. */
export const termsIn = (text: string): Entry[] =>
  TERMS.filter(([word]) => word.test(text)).map(([, sign, meaning]) => [sign, meaning]);

// Numbers as text, for people: three significant digits, a real minus sign, powers of ten only where they help.

const MINUS = "\u2212";

/** A number with `digits` significant digits; "NaN", "∞" and "−∞" for what is not finite. */
export function numberText(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : `${MINUS}\u221e`;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return sign(value.toExponential(digits - 1).replace("e+", "e"));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return sign(size >= 10 ** digits ? value.toFixed(0) : value.toFixed(Math.min(decimals, 6)));
}

/** A tick's text: as `numberText`, without the zeros that say nothing. */
export function tickText(value: number): string {
  const text = numberText(value, 3);
  return text.includes("e") || !text.includes(".") ? text : text.replace(/\.?0+$/, "");
}

/** Python's format mini-language, the part that results use: `[,][.n](d|f|g|e|%)`, with or without `{:` `}`. */
export function formatAs(spec: string, value: number): string {
  if (!Number.isFinite(value)) return numberText(value);
  const match = /^(?:\{:)?(\+)?(,)?(?:\.(\d+))?([dfge%])?\}?$/.exec(spec);
  if (!match) return numberText(value);
  const [, plus, comma, digits, type = "g"] = match;
  const n = digits === undefined ? 6 : Number(digits);
  const text = plain(value, type, n);
  const grouped = comma ? text.replace(/^(-?\d+)/, (whole) => Number(whole).toLocaleString("en-US")) : text;
  return sign(plus && value >= 0 ? `+${grouped}` : grouped);
}

function plain(value: number, type: string, n: number): string {
  if (type === "d") return value.toFixed(0);
  if (type === "f") return value.toFixed(n);
  if (type === "%") return `${(value * 100).toFixed(n)}%`;
  if (type === "e") return exponent(value.toExponential(n));
  const digits = Math.max(1, n);
  const power = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
  const long = power < -4 || power >= digits ? value.toExponential(digits - 1) : value.toPrecision(digits);
  return exponent(long.includes(".") ? long.replace(/\.?0+(?=e|$)/, "") : long);
}

/** Two digits at least in the exponent, as Python writes it. */
const exponent = (text: string): string => text.replace(/e([+-])(\d)$/, "e$10$2");

const sign = (text: string): string => text.replace(/^-/, MINUS);

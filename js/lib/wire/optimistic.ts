// What the user just did, shown before Python has confirmed it.
import type { Clock } from "./channel";

interface Claim {
  value: unknown;
  /** Answered: Python's own value follows by trait, if it has not come already. */
  answered: boolean;
}

/** After an answer, how long a trait may take to follow before Python's value is shown as it stands. */
export const GRACE = 500;

export class Optimistic {
  readonly #claims = new Map<string, Claim>();

  constructor(
    private readonly clock: Clock,
    private readonly changed: () => void,
  ) {}

  /** Show `value` under `name` until Python has had its say. */
  claim(name: string, value: unknown): { done(): void; failed(): void } {
    const claim: Claim = { value, answered: false };
    this.#claims.set(name, claim);
    const drop = () => {
      if (this.#claims.get(name) !== claim) return;
      this.#claims.delete(name);
      this.changed();
    };
    return {
      done: () => {
        claim.answered = true;
        this.clock.after(GRACE, drop);
      },
      failed: drop,
    };
  }

  /** The value to show: the claim, or Python's. */
  value<T>(name: string, actual: T): T {
    const claim = this.#claims.get(name);
    return claim ? (claim.value as T) : actual;
  }

  /** Python's value changed: a claim goes once it was answered or confirmed. */
  news(name: string, actual: unknown): void {
    const claim = this.#claims.get(name);
    if (claim && (claim.answered || same(claim.value, actual))) this.#claims.delete(name);
  }

  clear(): void {
    this.#claims.clear();
  }
}

export const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

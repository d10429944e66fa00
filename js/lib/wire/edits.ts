// What clicks want changed and Python has not confirmed yet: shown at once, and sent whole each time, so that a later
// message may take the place of an earlier one. Whatever else the user does begins another batch: a click means what
// the controls said when it was made, and an undo means the clicks before it.
import type { Place, Request } from "./model";

type EditRequest = Extract<Request, { kind: "edit" }>;

export interface Outlined {
  place: Place;
  /** "on": Python has it; "coming" and "going": wanted, not confirmed. */
  state: "on" | "coming" | "going";
}

const keyOf = ([row, col]: Place): string => `${row} ${col ?? "all"}`;

export class Edits {
  readonly #wanted = new Map<string, { place: Place; on: boolean; batch: number }>();
  readonly #dropped = new Map<string, number>();
  #batch = 0;

  /** Switch a cell, from how it is shown now. */
  toggle(place: Place, confirmed: readonly Place[]): void {
    this.#want(place, !this.#isOn(place, confirmed), confirmed);
  }

  /** Switch all cells on; where all of them are on already, off. */
  fill(places: readonly Place[], confirmed: readonly Place[]): void {
    const on = !places.every((place) => this.#isOn(place, confirmed));
    for (const place of places) this.#want(place, on, confirmed);
  }

  /** Take something off by its name in the list. */
  drop(id: string): void {
    this.#dropped.set(id, this.#batch);
  }

  isDropped(id: string): boolean {
    return this.#dropped.has(id);
  }

  /** Something else was asked for: what is wanted from now on is another message, done after it. */
  begin(): void {
    this.#batch++;
  }

  /** Everything of this batch that is wanted and not confirmed. */
  request(): EditRequest {
    const batch = this.#batch;
    const wanted = [...this.#wanted.values()].filter((each) => each.batch === batch);
    const places = (on: boolean) => wanted.filter((each) => each.on === on).map((each) => each.place);
    const drop = [...this.#dropped].filter((each) => each[1] === batch).map(([id]) => id);
    return { kind: "edit", batch, on: places(true), off: places(false), drop };
  }

  /** Python has done, or refused, what a request asked for: what was wanted since then stays. */
  settle(request: EditRequest): void {
    for (const [places, on] of [
      [request.on, true],
      [request.off, false],
    ] as const)
      for (const place of places) {
        const key = keyOf(place);
        if (this.#wanted.get(key)?.on === on) this.#wanted.delete(key);
      }
    for (const id of request.drop) this.#dropped.delete(id);
  }

  clear(): void {
    this.#wanted.clear();
    this.#dropped.clear();
  }

  /** The cells to outline. */
  shown(confirmed: readonly Place[]): Outlined[] {
    const out: Outlined[] = confirmed.map((place) => ({
      place,
      state: this.#wanted.get(keyOf(place))?.on === false ? "going" : "on",
    }));
    const known = new Set(confirmed.map(keyOf));
    for (const [key, { place, on }] of this.#wanted) if (on && !known.has(key)) out.push({ place, state: "coming" });
    return out;
  }

  #isOn(place: Place, confirmed: readonly Place[]): boolean {
    return this.#wanted.get(keyOf(place))?.on ?? confirmed.some((each) => keyOf(each) === keyOf(place));
  }

  #want(place: Place, on: boolean, confirmed: readonly Place[]): void {
    const key = keyOf(place);
    // Even where Python's last word agrees: an earlier message that says otherwise may be on its way.
    if (this.#wanted.has(key) || confirmed.some((each) => keyOf(each) === key) !== on)
      this.#wanted.set(key, { place, on, batch: this.#batch });
  }
}

// Clicks that change something: shown at once, sent whole, confirmed by Python.

import type { Channel } from "../wire/channel";
import { Edits, type Outlined } from "../wire/edits";
import type { Place } from "../wire/model";

/** What the edits stand on. */
interface Ground {
  channel(): Channel;
  /** What Python has confirmed; null where clicks change nothing. */
  confirmed(): readonly Place[] | null;
  /** An edit was done, or refused with a text. */
  settled(failure: string | null): void;
  /** Something else is to be shown. */
  changed(): void;
}

export class Editing {
  readonly #edits = new Edits();

  constructor(private readonly ground: Ground) {}

  get possible(): boolean {
    return this.ground.confirmed() !== null;
  }

  toggle(place: Place): void {
    this.#edit((confirmed) => this.#edits.toggle(place, confirmed));
  }

  fill(places: readonly Place[]): void {
    this.#edit((confirmed) => this.#edits.fill(places, confirmed));
  }

  drop(id: string): void {
    this.#edit(() => this.#edits.drop(id));
  }

  isDropped(id: string): boolean {
    return this.#edits.isDropped(id);
  }

  /** What the user does from now on is another batch. */
  begin(): void {
    this.#edits.begin();
  }

  clear(): void {
    this.#edits.clear();
  }

  shown(confirmed: readonly Place[]): Outlined[] {
    return this.#edits.shown(confirmed);
  }

  /** Change what is wanted, show it, and send all that is not confirmed. */
  #edit(change: (confirmed: readonly Place[]) => void): void {
    const confirmed = this.ground.confirmed();
    if (!confirmed) return;
    change(confirmed);
    const request = this.#edits.request();
    this.ground.changed();
    const settle = (failure: string | null) => {
      this.#edits.settle(request);
      this.ground.settled(failure);
    };
    this.ground.channel().ask(request, { done: () => settle(null), failed: settle });
  }
}

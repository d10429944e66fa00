// Requests to Python and their answers. State goes as messages, never as trait changes: after a dropped socket the
// traits of a model may never reach Python again, messages do.
import type { Answer, HostModel, Request } from "./model";

export const BUSY_AFTER = 150;
export const SILENT_AFTER = 4000;
/** Nothing larger goes to Python: a message over the server's limit closes the socket for good. */
export const LARGEST = 2 ** 20;

export interface Settled {
  done?(): void;
  failed?(text: string): void;
}

interface Waiting extends Settled {
  request: Request;
  since: number;
  key: string;
}

export interface Clock {
  now(): number;
  after(ms: number, act: () => void): () => void;
}

export const browserClock: Clock = {
  now: () => performance.now(),
  after: (ms, act) => {
    const timer = setTimeout(act, ms);
    return () => clearTimeout(timer);
  },
};

/** Requests of which only the newest matters. */
const keyOf = (request: Request, id: number): string => {
  if (request.kind === "set") return `set ${request.name}`;
  if (request.kind === "edit") return `edit ${request.batch}`;
  return request.kind === "act" ? `act ${id}` : request.kind; // each press of a button counts
};

// Ids must differ between the views of one model, whose answers all views see.
let last = Math.floor(Math.random() * 2 ** 30) * 2 ** 20;

export class Channel {
  readonly #waiting = new Map<number, Waiting>();
  readonly #timers = new Set<() => void>();

  /**
   * @param changed called when `busy` or `silent` may have changed
   * @param received called with every answer that carries data, whichever view asked
   */
  constructor(
    private readonly model: HostModel,
    private readonly changed: () => void,
    private readonly received: (answer: Answer, buffers: readonly unknown[], mine: boolean) => void,
    private readonly clock: Clock = browserClock,
  ) {
    model.on("msg:custom", this.#answer);
  }

  /** A request is on its way for longer than a person notices. */
  get busy(): boolean {
    return this.#older(BUSY_AFTER);
  }

  /** A request has had no answer for so long that one may never come. */
  get silent(): boolean {
    return this.#older(SILENT_AFTER);
  }

  /** Send a request; a newer one of the same kind takes the place of one still waiting. Returns its id. */
  ask(request: Request, settled: Settled = {}): number {
    const id = ++last;
    const content = { ...request, id };
    if (new TextEncoder().encode(JSON.stringify(content)).length > LARGEST) {
      settled.failed?.("This is too long to send to Python: 1 MiB is the limit.");
      return id;
    }
    const key = keyOf(request, id);
    for (const [other, waiting] of this.#waiting) if (waiting.key === key) this.#waiting.delete(other);
    this.#waiting.set(id, { ...settled, request, since: this.clock.now(), key });
    for (const ms of [BUSY_AFTER, SILENT_AFTER]) this.#later(ms + 5);
    this.#send(content, id);
    return id;
  }

  /** Send again what has had no answer. */
  retry(): void {
    for (const { request, done, failed } of [...this.#waiting.values()])
      this.ask(request, { ...(done && { done }), ...(failed && { failed }) });
    this.changed();
  }

  /** Forget what was asked: nobody will answer any more. */
  clear(): void {
    this.#waiting.clear();
    this.changed();
  }

  close(): void {
    this.model.off("msg:custom", this.#answer);
    this.#waiting.clear();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }

  #send(content: object, id: number): void {
    const failed = () => this.#settle(id, "The message could not be sent: the kernel is gone.");
    try {
      Promise.resolve(this.model.send(content)).catch(failed);
    } catch {
      failed();
    }
  }

  readonly #answer = (answer: Answer, buffers?: readonly unknown[]): void => {
    if (answer === null || typeof answer !== "object" || !("kind" in answer)) return;
    const mine = this.#waiting.has(answer.id);
    // A callback may ask again, so the waiting entry goes first.
    this.#settle(answer.id, answer.kind === "error" ? String(answer.text) : null);
    if (answer.kind === "frame" || answer.kind === "file") this.received(answer, buffers ?? [], mine);
  };

  #settle(id: number, error: string | null): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    if (error === null) waiting.done?.();
    else waiting.failed?.(error);
    this.changed();
  }

  #older(ms: number): boolean {
    const now = this.clock.now();
    return [...this.#waiting.values()].some(({ since }) => now - since >= ms);
  }

  #later(ms: number): void {
    const cancel = this.clock.after(ms, () => {
      this.#timers.delete(cancel);
      this.changed();
    });
    this.#timers.add(cancel);
  }
}

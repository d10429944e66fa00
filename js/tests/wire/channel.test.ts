import assert from "node:assert/strict";
import { test } from "node:test";
import { BUSY_AFTER, Channel, type Clock, LARGEST, SILENT_AFTER } from "../../lib/wire/channel";
import type { Answer, HostModel } from "../../lib/wire/model";
import { GRACE, Optimistic } from "../../lib/wire/optimistic";

/** A clock that a test turns. */
class Hand implements Clock {
  #now = 0;
  #todo: { at: number; act: () => void }[] = [];
  now = () => this.#now;
  after = (ms: number, act: () => void) => {
    const item = { at: this.#now + ms, act };
    this.#todo.push(item);
    return () => {
      this.#todo = this.#todo.filter((other) => other !== item);
    };
  };
  turn(ms: number): void {
    this.#now += ms;
    const due = this.#todo.filter(({ at }) => at <= this.#now);
    this.#todo = this.#todo.filter(({ at }) => at > this.#now);
    for (const { act } of due) act();
  }
  get waiting(): number {
    return this.#todo.length;
  }
}

function setUp(send: (content: { id: number; kind: string }) => unknown = () => undefined) {
  const sent: { id: number; kind: string }[] = [];
  let listener: ((answer: Answer, buffers?: unknown[]) => void) | null = null;
  const model = {
    get: () => null,
    on: (_: string, callback: typeof listener) => {
      listener = callback;
    },
    off: () => {
      listener = null;
    },
    send: (content: { id: number; kind: string }) => {
      sent.push(content);
      return send(content);
    },
  } as unknown as HostModel;
  const clock = new Hand();
  const seen: [string, boolean][] = [];
  const channel = new Channel(
    model,
    () => undefined,
    (answer, _, mine) => seen.push([answer.kind, mine]),
    clock,
  );
  const answer = (message: Answer) => listener?.(message);
  return { channel, clock, sent, seen, answer, listening: () => listener !== null };
}

test("a request has an id of its own, is busy after a moment and silent after long", () => {
  const { channel, clock, sent, answer } = setUp();
  channel.ask({ kind: "select", at: { layer: 1, pos: 2 } });
  channel.ask({ kind: "reset" });
  assert.notEqual(sent[0]!.id, sent[1]!.id);
  assert.ok(sent.every(({ id }) => Number.isSafeInteger(id)));
  assert.ok(!channel.busy);
  clock.turn(BUSY_AFTER + 5);
  assert.ok(channel.busy && !channel.silent);
  clock.turn(SILENT_AFTER);
  assert.ok(channel.silent);
  for (const { id } of sent) answer({ kind: "done", id });
  assert.ok(!channel.busy && !channel.silent);
});

test("answers reach the one that asked, errors with their text", () => {
  const { channel, sent, answer } = setUp();
  const log: string[] = [];
  channel.ask({ kind: "reset" }, { done: () => log.push("done"), failed: (text) => log.push(text) });
  answer({ kind: "done", id: -1 });
  assert.deepEqual(log, []);
  answer({ kind: "error", id: sent[0]!.id, text: "no such layer" });
  answer({ kind: "done", id: sent[0]!.id });
  assert.deepEqual(log, ["no such layer"]);
});

test("the newest request of a kind replaces the one still waiting; other controls are other kinds", () => {
  const { channel, clock, sent, answer } = setUp();
  channel.ask({ kind: "set", name: "stat", value: "norm" });
  channel.ask({ kind: "set", name: "component", value: "mlp_out" });
  channel.ask({ kind: "set", name: "stat", value: "kurtosis" });
  clock.turn(BUSY_AFTER + 5);
  answer({ kind: "done", id: sent[2]!.id });
  assert.ok(channel.busy, "component still waits");
  answer({ kind: "done", id: sent[1]!.id });
  assert.ok(!channel.busy);
});

test("each press of a button counts, and so does each batch of clicks", () => {
  const { channel, clock, sent, answer } = setUp();
  const done: string[] = [];
  const ask = (name: string, request: Parameters<Channel["ask"]>[0]) =>
    channel.ask(request, { done: () => done.push(name) });
  const edit = (batch: number) => ({ kind: "edit" as const, batch, on: [], off: [], drop: [] });
  ask("undo", { kind: "act", name: "undo" });
  ask("undo again", { kind: "act", name: "undo" });
  ask("overtaken", edit(0));
  ask("newer", edit(0));
  ask("next batch", edit(1));
  clock.turn(BUSY_AFTER + 5);
  for (const { id } of sent) answer({ kind: "done", id });
  assert.deepEqual(done, ["undo", "undo again", "newer", "next batch"]);
  assert.ok(!channel.busy);
});

test("data is seen by every view, and marked as asked for here or not", () => {
  const { channel, sent, seen, answer } = setUp();
  channel.ask({ kind: "frame", frame_id: 3 });
  answer({ kind: "frame", id: sent[0]!.id, frame_id: 3, names: [] });
  answer({ kind: "frame", id: 99, frame_id: 3, names: [] });
  assert.deepEqual(seen, [
    ["frame", true],
    ["frame", false],
  ]);
});

test("too long a message is not sent", () => {
  const { channel, sent } = setUp();
  let said = "";
  channel.ask({ kind: "set", name: "text", value: "x".repeat(LARGEST) }, { failed: (text) => (said = text) });
  assert.match(said, /1 MiB/);
  assert.equal(sent.length, 0);
});

test("a host that refuses to send fails the request at once", async () => {
  for (const send of [
    () => {
      throw new Error("closed");
    },
    () => Promise.reject(new Error("closed")),
  ]) {
    const { channel } = setUp(send);
    let said = "";
    channel.ask({ kind: "reset" }, { failed: (text) => (said = text) });
    await new Promise((resolve) => setImmediate(resolve));
    assert.match(said, /kernel is gone/);
    assert.ok(!channel.busy);
  }
});

test("retry sends again what waits, under a new id", () => {
  const { channel, sent, answer } = setUp();
  let done = 0;
  channel.ask({ kind: "reset" }, { done: () => done++ });
  channel.retry();
  assert.equal(sent.length, 2);
  answer({ kind: "done", id: sent[0]!.id });
  assert.equal(done, 0);
  answer({ kind: "done", id: sent[1]!.id });
  assert.equal(done, 1);
});

test("closing leaves neither listener nor timer", () => {
  const { channel, clock, listening } = setUp();
  channel.ask({ kind: "reset" });
  channel.close();
  assert.ok(!listening());
  assert.equal(clock.waiting, 0);
});

test("what the user did is shown until Python confirms it", () => {
  const claims = new Optimistic(new Hand(), () => undefined);
  claims.claim("selection", { layer: 3, pos: 4 });
  assert.deepEqual(claims.value("selection", { layer: 0, pos: 0 }), { layer: 3, pos: 4 });
  claims.news("selection", { layer: 3, pos: 0 }); // hosts that apply one trait at a time come by here
  assert.deepEqual(claims.value("selection", { layer: 3, pos: 0 }), { layer: 3, pos: 4 });
  claims.news("selection", { layer: 3, pos: 4 });
  assert.deepEqual(claims.value("selection", { layer: 9, pos: 9 }), { layer: 9, pos: 9 });
});

test("a refusal brings Python's value back at once, a plain answer after a grace", () => {
  const clock = new Hand();
  const claims = new Optimistic(clock, () => undefined);
  claims.claim("a", 1).failed();
  assert.equal(claims.value("a", 0), 0);
  claims.claim("a", 2).done();
  assert.equal(claims.value("a", 0), 2);
  clock.turn(GRACE);
  assert.equal(claims.value("a", 0), 0);
});

test("an answer to an older claim does not drop the newer one", () => {
  const clock = new Hand();
  const claims = new Optimistic(clock, () => undefined);
  const first = claims.claim("a", 1);
  claims.claim("a", 2);
  first.done();
  first.failed();
  clock.turn(GRACE);
  assert.equal(claims.value("a", 0), 2);
});

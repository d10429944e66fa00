import assert from "node:assert/strict";
import { test } from "node:test";
import { goodbyes, listen } from "../../lib/wire/liveness";

const status = (session: string, state = "busy", client = "client", direction = "recv") => ({
  direction,
  msg: {
    header: { msg_type: "status", session },
    parent_header: { session: client },
    content: { execution_state: state },
  },
});

test("a status of another process says that the kernel was restarted", () => {
  const gone = goodbyes();
  assert.equal(gone(status("one")), false);
  assert.equal(gone(status("one", "idle", "another client")), false);
  assert.equal(gone(status("two", "idle")), true);
});

test("what a server says, what is sent, and a kernel that signs with its client's session say nothing", () => {
  const gone = goodbyes();
  assert.equal(gone(status("one")), false);
  assert.equal(gone(status("server", "restarting")), false);
  assert.equal(gone(status("two", "busy", "client", "send")), false);
  assert.equal(gone(status("client", "busy", "client")), false);
  assert.equal(gone({ direction: "recv", msg: { header: { msg_type: "stream", session: "server" } } }), false);
  assert.equal(gone({}), false);
});

test("a process that announces its end is gone", () => {
  const gone = goodbyes();
  const end = (direction: string, type: string) => ({ direction, msg: { header: { msg_type: type, session: "one" } } });
  assert.equal(gone(end("send", "shutdown_request")), false);
  assert.equal(gone(end("recv", "delete_subshell_reply")), false);
  assert.equal(gone(end("recv", "shutdown_reply")), true);
});

test("a view that is drawn when its cell has ended knows the process all the same", async () => {
  const slots = new Set<(sender: unknown, value: unknown) => void>();
  const say = (message: unknown) => {
    for (const slot of slots) slot(null, message);
  };
  const signal = { connect: slots.add.bind(slots), disconnect: slots.delete.bind(slots) };
  const kernel = { anyMessage: signal, requestKernelInfo: async () => say(status("one")) };
  let times = 0;
  const end = new AbortController();
  listen(kernel, () => times++, end.signal);
  await Promise.resolve();
  say(status("two"));
  assert.equal(times, 1);
  end.abort();
  assert.equal(slots.size, 0);
});

test("a kernel that does not answer, or that cannot be asked, is no error", async () => {
  const { signal } = new AbortController();
  listen({ requestKernelInfo: () => Promise.reject(new Error("disposed")) }, () => assert.fail(), signal);
  listen(undefined, () => assert.fail(), signal);
  await new Promise((resolve) => setTimeout(resolve));
});

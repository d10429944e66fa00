import assert from "node:assert/strict";
import { test } from "node:test";
import { goodbyes } from "../../lib/wire/liveness";

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

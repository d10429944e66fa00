import assert from "node:assert/strict";
import { test } from "node:test";
import { anotherProcess } from "../lib/liveness";

const status = (session: string, state = "busy", client = "client", direction = "recv") => ({
  direction,
  msg: {
    header: { msg_type: "status", session },
    parent_header: { session: client },
    content: { execution_state: state },
  },
});

test("a status of another process says that the kernel was restarted", () => {
  const another = anotherProcess();
  assert.equal(another(status("one")), false);
  assert.equal(another(status("one", "idle", "another client")), false);
  assert.equal(another(status("two", "idle")), true);
});

test("what a server says, what is sent, and a kernel that signs with its client's session say nothing", () => {
  const another = anotherProcess();
  assert.equal(another(status("one")), false);
  assert.equal(another(status("server", "restarting")), false);
  assert.equal(another(status("two", "busy", "client", "send")), false);
  assert.equal(another(status("client", "busy", "client")), false);
  assert.equal(another({ direction: "recv", msg: { header: { msg_type: "stream", session: "server" } } }), false);
  assert.equal(another({}), false);
});

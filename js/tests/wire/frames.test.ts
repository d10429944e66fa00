import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames, needsBytes } from "../../lib/wire/frames";
import { decode } from "../../lib/wire/grid";
import type { HeatmapData } from "../../lib/wire/model";
import { frameOf, heatmapOf, numbers, shifted } from "../frame";

const late = () => {
  const also = { labels: ["raw"], "0": null };
  return frameOf({ heatmap: heatmapOf({ data: null, also }), bars: { unit: "nats" } }, [
    "heatmap.data",
    "heatmap.also.0",
  ]);
};

test("a frame without bytes is asked for once, then known to every view", () => {
  const frames = new Frames();
  const frame = late();
  assert.ok(needsBytes(frame));
  assert.equal(frames.of(frame), null);
  assert.ok(frames.shouldAsk(frame, 0));
  assert.ok(!frames.shouldAsk(frame, 100), "a second view does not ask too");
  assert.ok(frames.shouldAsk(frame, 5000), "but asks again when no answer came");
  assert.throws(() => frames.put(frame, ["heatmap.data", "more"], [numbers]), /2 buffers named, 1 came/);
  const whole = frames.put(frame, frame.buffers, [shifted(numbers, 1), numbers]);
  assert.equal(frames.of(frame), whole);
  assert.equal(frames.of({ ...frame }), null, "another value of the trait is another picture");
});

test("the bytes of a message stand where their paths say, and nothing else changes", () => {
  const frame = late();
  const whole = new Frames().put(frame, frame.buffers, [shifted(numbers, 1), shifted(numbers, 3)]);
  const grid = decode(whole.parts.heatmap as HeatmapData);
  assert.deepEqual([...grid.values], [...numbers]);
  assert.deepEqual([...grid.also[0]!.values], [...numbers]);
  assert.equal(whole.parts.bars, frame.parts.bars);
  assert.ok(needsBytes(frame), "the trait's own value is not touched");
});

test("a frame with bytes is shown as it came", () => {
  const frame = frameOf({ heatmap: heatmapOf() }, ["heatmap.data"]);
  assert.equal(new Frames().of(frame), frame);
});

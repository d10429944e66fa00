// What must hold for the built files themselves: nothing loaded from anywhere, no way to run text as code, small.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as esbuild from "esbuild";
import { builds } from "../build.mjs";

const results = await Promise.all(builds().map((options) => esbuild.build({ ...options, write: false })));
const files = results.flatMap((result) => result.outputFiles);
const name = (file) => file.path.split(/[\\/]/).at(-1);

test("each widget has a script and a stylesheet, and there is a host", () => {
  const names = files.map(name).sort();
  assert.ok(names.includes("host.js"));
  for (const script of names.filter((n) => n.endsWith(".js") && n !== "host.js"))
    assert.ok(names.includes(script.replace(/\.js$/, ".css")), script);
  assert.ok(names.length >= 5);
});

for (const file of files)
  test(`${name(file)} is self-contained and safe to inline`, () => {
    const text = file.text.replaceAll(/https?:\/\/www\.w3\.org\/[\w/]+/g, "");
    assert.doesNotMatch(text, /https?:|\/\/[a-z0-9-]+\.[a-z]{2,}\//i, "names no address");
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function\b/);
    assert.doesNotMatch(text, /<\/script|<!--/i, "cannot end the script element it is inlined in");
    assert.doesNotMatch(text, /@import|url\(/);
    assert.ok(file.contents.length < 82_000, `${file.contents.length} bytes`);
  });

test("parts that a widget does not show are not in its bundle", () => {
  const bundle = (entry) =>
    Object.values(results[0].metafile.outputs).find((out) => out.entryPoint === `widgets/${entry}.ts`);
  const has = (entry, file) => Object.keys(bundle(entry).inputs).includes(`lib/parts/${file}`);
  for (const [entry, own, others] of [
    ["activation_heatmap", ["heatmap.ts"], ["neurons.ts", "contexts.ts", "probe.ts"]],
    ["neuron_explorer", ["heatmap.ts", "neurons.ts"], ["probe.ts", "probe_parts.ts"]],
    ["contribution_chart", ["waterfall.ts"], ["heatmap.ts", "plot.ts", "neurons.ts", "probe.ts"]],
    ["probe_panel", ["probe.ts"], ["heatmap.ts", "plot.ts", "neurons.ts"]],
  ]) {
    for (const file of own) assert.ok(has(entry, file), `${entry} shows ${file}`);
    for (const file of others) assert.ok(!has(entry, file), `${entry} does not show ${file}`);
  }
});

test("scripts import nothing", () => {
  for (const result of results)
    for (const output of Object.values(result.metafile.outputs)) assert.deepEqual(output.imports, []);
});

test("importing a widget does nothing yet", async () => {
  for (const file of files.filter((f) => name(f).endsWith(".js") && name(f) !== "host.js")) {
    const module = await import(`data:text/javascript;base64,${Buffer.from(file.contents).toString("base64")}`);
    assert.equal(typeof module.default.render, "function");
    assert.deepEqual(Object.keys(module), ["default"]);
  }
});

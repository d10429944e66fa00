// Bundles each widgets/*.ts into ../resid_widgets/static/<widget>.js + .css, and host.ts into host.js.
// A new widget needs no change here: entries are found by their place.
//   node build.mjs            build once
//   node build.mjs --watch    build on every change
//   node build.mjs --tests    bundle tests/*.test.ts into dist/tests for `node --test`
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

export const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "resid_widgets", "static");
const entries = (folder, ending) =>
  readdirSync(join(here, folder), { recursive: true })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(here, folder, name));

/** d3's module of four colour maps: says that making one has no side effect, so that those not used are left out. */
const colourMaps = {
  name: "colour maps",
  setup: (build) =>
    build.onLoad({ filter: /d3-scale-chromatic[\\/]src[\\/]sequential-multi[\\/]viridis\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replaceAll("ramp(colors(", "/* @__PURE__ */ ramp(/* @__PURE__ */ colors("),
    })),
};

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
  metafile: true,
  plugins: [colourMaps],
};

/** Options of the two browser builds: widgets are ES modules, the host is a plain script for an inline <script>. */
export const builds = () => [
  { ...common, entryPoints: entries("widgets", ".ts"), format: "esm", outdir: out },
  { ...common, entryPoints: [join(here, "host.ts")], format: "iife", outdir: out },
];

/** The licences of the packages that ended up in the bundles, as their authors wrote them. */
function licences(metafiles) {
  const inputs = metafiles.flatMap((m) => Object.keys(m.inputs));
  const names = inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  const parts = [...new Set(names)].sort().map((name) => {
    const folder = join(here, "node_modules", name);
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
    if (!file) throw new Error(`${name} carries no licence file`);
    return `${name} ${version}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  const lead = "The files in this folder contain code of these packages.\n";
  return [lead, ...parts].join(`\n${"-".repeat(80)}\n\n`);
}

async function buildAll() {
  mkdirSync(out, { recursive: true });
  const results = await Promise.all(builds().map((options) => esbuild.build(options)));
  writeFileSync(join(out, "THIRD_PARTY_LICENSES.txt"), licences(results.map((r) => r.metafile)));
  for (const { metafile } of results)
    for (const [path, { bytes }] of Object.entries(metafile.outputs))
      console.log(`${(bytes / 1000).toFixed(1).padStart(7)} kB  ${basename(path)}`);
}

async function watch() {
  await buildAll();
  const contexts = await Promise.all(builds().map((options) => esbuild.context({ ...options, logLevel: "info" })));
  await Promise.all(contexts.map((context) => context.watch()));
}

async function buildTests() {
  const outdir = join(here, "dist", "tests");
  rmSync(outdir, { recursive: true, force: true });
  await esbuild.build({
    ...common,
    minify: false,
    sourcemap: "inline",
    entryPoints: entries("tests", ".test.ts"),
    format: "esm",
    platform: "node",
    outdir,
    outExtension: { ".js": ".mjs" },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mode = process.argv[2];
  await (mode === "--watch" ? watch() : mode === "--tests" ? buildTests() : buildAll());
}

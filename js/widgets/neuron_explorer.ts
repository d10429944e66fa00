// Neurons over prompts: the picture of all, a table, and below it what the selected one answers to.
import { heatmap } from "../lib/parts/heatmap";
import { neuronPart } from "../lib/parts/neurons";
import type { RenderContext } from "../lib/wire/model";

export type { Model } from "../lib/wire/model";

export default { render: (context: RenderContext) => heatmap(context, neuronPart) };

// Neurons over prompts: the picture of all, a table, and below it what the selected one answers to.
import { heatmap } from "../lib/heatmap";
import type { RenderContext } from "../lib/model";
import { neuronPart } from "../lib/neurons";

export type { Model } from "../lib/model";

export default { render: (context: RenderContext) => heatmap(context, neuronPart) };

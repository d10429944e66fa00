// Neurons over prompts: the picture of all, a table, and below it what the selected one answers to.
import { widget } from "../lib/page/widget";
import { heatmap } from "../lib/parts/heatmap";
import { neurons } from "../lib/parts/neurons";

export default widget({ heatmap: heatmap("fit"), neurons });

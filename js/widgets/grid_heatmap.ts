// One number for each layer and column of any result.
import { heatmap } from "../lib/heatmap";

export type { Model } from "../lib/model";

export default { render: heatmap };

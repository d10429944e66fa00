// One number for each layer and column of any result.
import { heatmap } from "../lib/parts/heatmap";

export type { Model } from "../lib/wire/model";

export default { render: heatmap };

// One number of the residual stream for each layer and token.
import { heatmap } from "../lib/parts/heatmap";

export type { Model } from "../lib/wire/model";

export default { render: heatmap };

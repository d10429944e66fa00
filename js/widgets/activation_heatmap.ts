// One number of the residual stream for each layer and token.
import { heatmap } from "../lib/heatmap";

export type { Model } from "../lib/model";

export default { render: heatmap };

// What the model would say if it stopped at each layer: the frame carries top tokens, which the cells show as words.
import { heatmap } from "../lib/heatmap";

export type { Model } from "../lib/model";

export default { render: heatmap };

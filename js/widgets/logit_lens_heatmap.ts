// What the model would say if it stopped at each layer: the frame carries top tokens, which the cells show as words.
import { heatmap } from "../lib/parts/heatmap";

export type { Model } from "../lib/wire/model";

export default { render: heatmap };

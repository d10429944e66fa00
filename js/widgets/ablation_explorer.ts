// Click to change the stream: the cells that are changed come as `edited`, the metric and next tokens as `summary`.
import { heatmap } from "../lib/heatmap";

export type { Model } from "../lib/model";

export default { render: heatmap };

// Click to change the stream: the cells that are changed come as `edited`, the metric and next tokens as `summary`.
import { heatmap } from "../lib/parts/heatmap";

export type { Model } from "../lib/wire/model";

export default { render: heatmap };

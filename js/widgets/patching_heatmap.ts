// Which site of one run, put into another, moves the answer. The picture fills while Python computes.
import { heatmap } from "../lib/heatmap";

export type { Model } from "../lib/model";

export default { render: heatmap };

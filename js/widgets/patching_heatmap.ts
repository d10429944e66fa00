// Which site of one run, put into another, moves the answer. The picture fills while Python computes.
import { heatmap } from "../lib/parts/heatmap";

export type { Model } from "../lib/wire/model";

export default { render: heatmap };

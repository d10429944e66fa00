// Which site of one run, put into another, moves the answer. The picture fills while Python computes.
import { widget } from "../lib/page/widget";
import { heatmap } from "../lib/parts/heatmap";

export default widget({ heatmap: heatmap() });

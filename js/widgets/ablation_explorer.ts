// Click to change the stream: the cells that are changed come as `edited`, the metric and next tokens as `summary`.
import { widget } from "../lib/page/widget";
import { heatmap } from "../lib/parts/heatmap";

export default widget({ heatmap: heatmap() });

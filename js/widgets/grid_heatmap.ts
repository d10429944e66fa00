// One number for each layer and column of any result.
import { widget } from "../lib/page/widget";
import { heatmap } from "../lib/parts/heatmap";

export default widget({ heatmap: heatmap() });

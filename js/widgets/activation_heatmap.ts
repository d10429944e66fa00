// One number of the residual stream for each layer and token.
import { widget } from "../lib/page/widget";
import { heatmap } from "../lib/parts/heatmap";

export default widget({ heatmap: heatmap() });

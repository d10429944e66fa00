// What the model would say if it stopped at each layer: top tokens, which the cells show as words.
import { widget } from "../lib/page/widget";
import { heatmap } from "../lib/parts/heatmap";

export default widget({ heatmap: heatmap() });

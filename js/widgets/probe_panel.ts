// What stands behind one layer of a probe: numbers, confusions, the hardest samples, and the causal test.
import { type PanelContext, probePanel } from "../lib/parts/probe_panel";

export type { Model } from "../lib/parts/probe_panel";

export default { render: (context: PanelContext) => probePanel(context) };

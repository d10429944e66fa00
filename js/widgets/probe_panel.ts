// What stands behind one layer of a probe: numbers, confusions, the hardest samples, and the causal test.
import { widget } from "../lib/page/widget";
import { probe } from "../lib/parts/probe";

export default widget({ probe });

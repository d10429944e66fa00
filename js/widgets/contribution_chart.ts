// What each part of a model writes into an answer: bars that add up, and open.
import { widget } from "../lib/page/widget";
import { waterfall } from "../lib/parts/waterfall";

export default widget({ waterfall });

// All heads at a glance, and the open one at full size.
import { widget } from "../lib/page/widget";
import { head } from "../lib/parts/head";
import { thumbnails } from "../lib/parts/thumbnails";

export default widget({ heads: thumbnails, head });

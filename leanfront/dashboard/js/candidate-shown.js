/** Charts that are drawn when they come into view: before, they would have no width. */

import { whenSeen } from "./searches-lazy.js";
import { draw } from "./plot.js";
import { failure } from "./ui.js";

/** Draw a chart, as `draw` does, once its place is about to be seen. */
export function drawSeen(place, traces, layout, options) {
  whenSeen(place, () => draw(place, traces, layout, options).catch((error) => place.replaceChildren(failure(error))));
  return place;
}

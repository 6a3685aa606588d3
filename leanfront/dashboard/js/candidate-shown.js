/** Charts of candidates: drawn when they come into view, before they would have no width; and how bars are filled. */

import { whenSeen } from "./searches-lazy.js";
import { draw } from "./plot.js";
import { failure } from "./ui.js";

/** Draw a chart, as `draw` does, once its place is about to be seen. */
export function drawSeen(place, traces, layout, options) {
  whenSeen(place, () => draw(place, traces, layout, options).catch((error) => place.replaceChildren(failure(error))));
  return place;
}

/** The filling of one candidate's bars: its colour, and hatching so that nothing is told by colour alone. */
export function filling({ colour, hatch }) {
  return { color: colour, pattern: { shape: hatch, fillmode: "overlay", fgcolor: "rgba(255,255,255,0.75)", size: 6 } };
}

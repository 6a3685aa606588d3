/** A sparkline of the hypervolume over the trials. */

import { svg } from "../dom.js";
import { significant } from "../format.js";

const WIDTH = 120;
const HEIGHT = 32;
const EDGE = 4;

/**
 * The sparkline of a search.
 * @param {Array<{trials: number, hypervolume: number}>} points in order of trials
 * @returns {Element|null} null without points
 */
export function spark(points) {
  if (!points.length) return null;
  const last = points.at(-1);
  const across = scale(points.map(({ trials }) => trials), EDGE, WIDTH - EDGE);
  const up = scale(points.map(({ hypervolume }) => hypervolume), HEIGHT - EDGE, EDGE);
  const places = points.map(({ trials, hypervolume }) => [across(trials), up(hypervolume)]);
  const [x, y] = places.at(-1);
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "spark", role: "img", "aria-label": said(points[0], last) },
    svg("polyline", { points: places.map((place) => place.map((each) => each.toFixed(1)).join(",")).join(" ") }),
    svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 2.5 }),
  );
}

function said(first, last) {
  const from = `${significant(first.hypervolume)} after ${first.trials}`;
  return `hypervolume: ${from}, ${significant(last.hypervolume)} after ${last.trials} trials`;
}

/** Scale values to an interval; equal values map to its end. */
function scale(values, from, to) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return (value) => (high === low ? to : from + ((value - low) / (high - low)) * (to - from));
}

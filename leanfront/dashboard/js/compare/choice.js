/** The compared candidates: ids from the address, and how each is drawn. */

import { BLUE, GREEN, ORANGE, PURPLE } from "../plot.js";
import { read, write } from "../state.js";
import { MOST_COMPARED } from "../tray.js";

/** Colour, hatching, symbol and dash of each of the four, so that colour alone distinguishes nothing. */
const LOOKS = [
  { colour: BLUE, hatch: "", symbol: "circle", dash: "solid" },
  { colour: ORANGE, hatch: "/", symbol: "square", dash: "dash" },
  { colour: GREEN, hatch: ".", symbol: "diamond", dash: "dot" },
  { colour: PURPLE, hatch: "x", symbol: "triangle-up", dash: "dashdot" },
];

/** The look of the candidate at a position. */
export function look(place) {
  return LOOKS[place % LOOKS.length];
}

/**
 * The ids in the address.
 * @returns {{ids: Array<number>, wrong: string}} `wrong` is an error message, or ""
 */
export function wanted() {
  const parts = (read("ids") ?? "")
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
  const bad = parts.filter((each) => !isId(each));
  if (bad.length)
    return {
      ids: parts.filter(isId).map(Number).slice(0, MOST_COMPARED),
      wrong: `“${bad[0]}” is not a candidate id: ids are numbers.`,
    };
  const ids = [...new Set(parts.map(Number))];
  if (ids.length > MOST_COMPARED) {
    return {
      ids: ids.slice(0, MOST_COMPARED),
      wrong:
        `${ids.length} candidates are named, but at most ${MOST_COMPARED} can be compared: ` +
        `the first ${MOST_COMPARED} are shown.`,
    };
  }
  return { ids, wrong: "" };
}

/** Whether a text can be a candidate's id. */
export function isId(text) {
  return /^[1-9]\d{0,14}$/.test(text);
}

/** Compare other candidates; the browser's back button undoes it. */
export function choose(ids) {
  write({ ids: ids.join(",") }, { push: true });
}

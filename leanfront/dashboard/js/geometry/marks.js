/** What marks model A, model B and the dense one in all views. */

import { BLUE, GREY, ORANGE } from "../plot.js";

export const COLOUR = { a: ORANGE, b: BLUE, dense: GREY };
export const SYMBOL = { a: "circle-open", b: "circle", dense: "diamond" };
export const DASH = { a: "solid", b: "solid", dense: "dot" };

/**
 * A, B, and the dense model where it is neither.
 * @returns {Array<[string, number, string]>} key of the marks, place of the model, what it is called
 */
export function shownModels({ a, b, findings }) {
  const found = [["a", a, `A: ${findings.names[a]}`]];
  if (b !== a) found.push(["b", b, `B: ${findings.names[b]}`]);
  const dense = findings.models.findIndex(({ criterion }) => criterion === "dense");
  if (dense >= 0 && dense !== a && dense !== b) found.push(["dense", dense, findings.names[dense]]);
  return found;
}

/** A legend under a chart: beside it there is no room on a phone. */
export function below() {
  return { orientation: "h", y: -0.15, font: { size: 11 } };
}

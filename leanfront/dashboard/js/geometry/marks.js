/** Marks of model A, model B and the dense model in all views. */

import { BLUE, GREY, ORANGE } from "../plot.js";

export const COLOUR = { a: ORANGE, b: BLUE, dense: GREY };
export const SYMBOL = { a: "circle-open", b: "circle", dense: "diamond" };
export const DASH = { a: "solid", b: "solid", dense: "dot" };

/**
 * A, B, and the dense model if it is neither.
 * @returns {Array<[string, number, string]>} key of the marks, index of the model, label
 */
export function shownModels({ a, b, findings }) {
  const found = [["a", a, `A: ${findings.names[a]}`]];
  if (b !== a) found.push(["b", b, `B: ${findings.names[b]}`]);
  const dense = findings.models.findIndex(({ criterion }) => criterion === "dense");
  if (dense >= 0 && dense !== a && dense !== b) found.push(["dense", dense, findings.names[dense]]);
  return found;
}

/** A legend under a chart, since phones have no room beside it. */
export function below() {
  return { orientation: "h", y: -0.15, font: { size: 11 } };
}

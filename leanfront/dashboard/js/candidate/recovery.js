/** Recoveries of a candidate, and a form that queues one. */

import { get, path, post } from "../api.js";
import { h } from "../dom.js";
import { link } from "../shell.js";
import { field, show } from "../ui.js";
import { difference } from "./measured.js";
import { order } from "./order.js";

/** The candidates recovered from one, and a form that queues another; `holder` then refreshes. */
export async function recoveriesOf(candidate, holder) {
  const children = await get(path("candidates", candidate.id, "recoveries"));
  return [
    children.length
      ? h(
          "ul",
          { class: "plain-list" },
          children.map((child) => h("li", {}, childOf(candidate, child))),
        )
      : h("p", {}, "This candidate has not been recovered yet."),
    candidate.state === "failed" || isDense(candidate.configuration) ? null : recovery(candidate, holder),
  ];
}

function childOf(candidate, child) {
  const gained =
    child.state === "complete" ? `${difference(child.accuracy, candidate.accuracy, "1")} of accuracy` : child.reason;
  return [h("a", { href: link("candidates", child.id) }, `candidate ${child.id}`), `: ${gained}`];
}

function isDense({ channels, weight_bits: weights, activation_bits: inputs, sparsity }) {
  return [channels, weights, inputs, sparsity].every((each) => Object.keys(each ?? {}).length === 0);
}

function recovery(candidate, holder) {
  const epochs = h("input", { type: "number", min: 1, max: 100000, step: 1, value: 3, required: true });
  const queue = () => {
    if (!epochs.reportValidity()) throw new Error("epochs must be a whole number of at least 1");
    return post(path("candidates", candidate.id, "recover"), { epochs: Number(epochs.value) });
  };
  return h(
    "div",
    { class: "row" },
    field("Epochs of training", epochs),
    order("Recover", "recover", queue, () => show(holder, () => recoveriesOf(candidate, holder))),
  );
}

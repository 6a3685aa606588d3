/** Recoveries of a candidate, and a form that queues one. */

import { get, openapi, path, post } from "../api.js";
import { h } from "../dom.js";
import { optionsForm } from "../options.js";
import { link } from "../shell.js";
import { show } from "../ui.js";
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
    candidate.state === "failed" || isDense(candidate.configuration) ? null : await recovery(candidate, holder),
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

async function recovery(candidate, holder) {
  const { properties } = (await openapi()).components.schemas.RecoveryRequest;
  const { element, values } = optionsForm(properties, ["epochs"]);
  const queue = () => {
    const given = values();
    if (given === null) throw new Error("a value cannot be used");
    return post(path("candidates", candidate.id, "recover"), given);
  };
  return h(
    "div",
    {},
    element,
    order("Recover", "recover", queue, () => show(holder, () => recoveriesOf(candidate, holder))),
  );
}

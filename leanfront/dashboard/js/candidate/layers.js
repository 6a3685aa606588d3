/** The tables of a candidate's layers and channel groups. */

import { h } from "../dom.js";
import { number, significant } from "../format.js";
import { bitsOf, keptOf } from "../layers.js";
import { table } from "../ui.js";

/** The table of a candidate's layers; the last rows are the parts outside of layers and the total. */
export function layerTable(found) {
  const rows = found.layers.map((each) => [
    each.name,
    each.kind,
    keptOf(each.inputs, each.dense_inputs),
    keptOf(each.outputs, each.dense_outputs),
    bitsOf(each),
    each.sparsity === null ? "–" : String(each.sparsity),
    number(each.bytes, "byte"),
    number(each.dense_bytes, "byte"),
    number(each.macs, "MAC"),
    number(each.dense_macs, "MAC"),
    each.loss === null ? "–" : significant(each.loss),
  ]);
  const rest = (name, size, work) => [name, "", "", "", "", "", number(size, "byte"), "", number(work, "MAC"), "", ""];
  return table({
    caption: "Every layer",
    header: [
      "Layer",
      "Kind",
      "Inputs",
      "Outputs",
      "Bits",
      "Sparsity",
      "Memory",
      "Dense",
      "MACs",
      "Dense",
      "Predicted loss",
    ],
    rows: [
      ...rows,
      rest("outside of layers", found.other_bytes, found.other_macs),
      rest("all", found.memory_bytes, found.macs),
    ],
    note:
      "Predicted loss: increase of the cross-entropy in nats per image from compressing a layer's weights and inputs " +
      "(before any recovery). Outside of layers: norms, other parameters, attention products.",
  });
}

/** The table of a candidate's channel groups. */
export function groupTable(found) {
  return table({
    caption: "Channel groups, which are cut together",
    header: ["Group", "Kept", "Predicted loss", "Cuts"],
    rows: found.groups.map((each) => [
      each.name,
      keptOf(each.kept, each.units),
      each.loss === null ? "–" : significant(each.loss),
      h(
        "details",
        {},
        h("summary", {}, `${each.members.length} sides`),
        h(
          "ul",
          {},
          each.members.map((name) => h("li", {}, name)),
        ),
      ),
    ]),
  });
}

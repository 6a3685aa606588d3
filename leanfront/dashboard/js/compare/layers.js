/** Layers of candidates side by side. */

import { find, path } from "../api.js";
import { fill, h } from "../dom.js";
import { number } from "../format.js";
import { bars, bitsOf, keptOf, namesOf } from "../layers.js";
import { onReturn, read, write } from "../state.js";
import { check, empty, table } from "../ui.js";
import { look } from "./choice.js";

/** Charts and table of the layers of candidates. */
export async function layers(candidates) {
  const found = await Promise.all(candidates.map(({ id }) => find(path("candidates", id, "layers"))));
  const sets = candidates
    .map(({ id, name }, place) => ({ id, name, ...look(place), layers: found[place]?.layers }))
    .filter((set) => set.layers);
  const missing = candidates.filter((_, place) => found[place] === null);
  const charts = h("div");
  const paint = () =>
    fill(charts, bars(sets, { log: read("log") === "1", keys: ["kept", "bits", "bytes", "macs"], share: true }));
  if (sets.length) paint();
  return [
    missing.map(({ id }) =>
      empty(`The layers of candidate ${id} are not known: no worker has loaded its search's target.`),
    ),
    sets.length
      ? [h("p", { class: "note" }, "Outlines show the dense model."), logSwitch(paint), charts, tableOf(sets)]
      : null,
  ];
}

function logSwitch(paint) {
  const control = check("logarithmic axes", read("log") === "1", (on) => {
    write({ log: on ? "1" : null });
    paint();
  });
  onReturn(() => {
    if (!control.isConnected) return;
    control.querySelector("input").checked = read("log") === "1";
    paint();
  });
  return h("p", {}, control);
}

function tableOf(sets) {
  return table({
    caption: "Layers: kept output channels, bits, memory, MACs",
    header: ["Layer", ...sets.map(({ name }) => name)],
    rows: namesOf(sets).map((name) => [
      name,
      ...sets.map((set) => {
        const row = set.layers.find((each) => each.name === name);
        if (!row) return "–";
        const bits = row.weight_bits === null ? "float" : `${bitsOf(row)} bits`;
        const kept = keptOf(row.outputs, row.dense_outputs);
        return [kept, bits, number(row.bytes, "byte"), number(row.macs, "MAC")].join(" · ");
      }),
    ]),
  });
}

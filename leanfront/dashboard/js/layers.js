/** Candidates by layer: remaining channels, bits, costs, and predicted loss. */

import { h } from "./dom.js";
import { axisTitle, bytes, count, significant } from "./format.js";
import { GREY, canvas, drawSeen, filling, plain } from "./plot.js";

const FLOAT = 32;

/** Measures of a layer: its value, and the dense model's if there is one. */
const MEASURES = [
  {
    key: "kept",
    title: "Kept channels",
    axis: "output channels",
    of: (row) => row.outputs,
    dense: (row) => row.dense_outputs,
    long: true,
  },
  {
    key: "bits",
    title: "Weight bits",
    axis: "bits per weight",
    of: (row) => row.weight_bits ?? FLOAT,
    dense: () => FLOAT,
    long: false,
  },
  {
    key: "bytes",
    title: "Memory",
    axis: axisTitle("memory_bytes", "byte"),
    of: (row) => row.bytes,
    dense: (row) => row.dense_bytes,
    long: true,
  },
  {
    key: "macs",
    title: "MACs",
    axis: "MACs per input",
    of: (row) => row.macs,
    dense: (row) => row.dense_macs,
    long: true,
  },
  { key: "loss", title: "Predicted loss", axis: "nats per image", of: (row) => row.loss, dense: null, long: true },
];
const ROW = 22;
const FRAME = 110;

/**
 * Bar charts, one per measure and one row per layer, with the dense model as an outline behind.
 * @param {Array<{name: string, layers: Array<object>, colour: string, hatch: string}>} sets one per candidate
 * @param {object} options
 * @param {boolean} options.log whether long axes are logarithmic
 * @param {Array<string>} [options.keys] keys of the measures
 * @param {boolean} [options.share] whether to show kept channels relative to the dense model
 * @returns {Element}
 */
export function bars(sets, { log, keys = MEASURES.map((each) => each.key), share = false }) {
  const names = namesOf(sets);
  const shown = MEASURES.filter((each) => keys.includes(each.key)).map((each) =>
    share && each.key === "kept" ? SHARE : each,
  );
  return h("div", { class: "figures" }, shown.map((measure) => chart(measure, sets, names, log)).filter(Boolean));
}

const SHARE = {
  key: "kept",
  title: "Kept channels, share of dense",
  axis: "share of output channels",
  of: (row) => (row.outputs === null || !row.dense_outputs ? null : row.outputs / row.dense_outputs),
  dense: () => 1,
  long: false,
};

/** Names of all layers, in the order of the models. */
export function namesOf(sets) {
  return [...new Set(sets.flatMap((set) => set.layers.map((row) => row.name)))];
}

function chart(measure, sets, names, log) {
  const values = sets.map((set) => valuesOf(measure.of, set.layers, names));
  if (values.every((each) => each.every((value) => value === null))) return null;
  const several = sets.length > 1;
  const labels = names.map(plain);
  const traces = [];
  if (measure.dense) {
    const dense = names.map((name) => {
      const row = sets.map((set) => set.layers.find((each) => each.name === name)).find(Boolean);
      return measure.dense(row);
    });
    traces.push({
      type: "bar",
      orientation: "h",
      name: "dense",
      y: labels,
      x: dense,
      marker: { color: "rgba(0,0,0,0)", line: { color: GREY, width: 1.5 } },
      width: 0.9,
      ...(several ? { offset: -0.45 } : {}),
      hovertemplate: "%{y}: %{x} (dense)<extra></extra>",
    });
  }
  const width = 0.8 / sets.length;
  sets.forEach((set, place) =>
    traces.push({
      type: "bar",
      orientation: "h",
      name: plain(set.name),
      y: labels,
      x: values[place],
      width,
      offset: -0.4 + place * width,
      marker: filling(set),
      hovertemplate: "%{y}: %{x}<extra>%{fullData.name}</extra>",
    }),
  );
  const place = canvas(FRAME + names.length * (several ? ROW + 8 * sets.length : ROW));
  const layout = {
    barmode: "overlay",
    margin: { t: several ? 40 : 10, r: 15, b: 45, l: 60 },
    showlegend: several,
    legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
    xaxis: {
      title: { text: measure.axis },
      type: log && measure.long ? "log" : "linear",
      ...(log ? {} : { rangemode: "tozero" }),
    },
    yaxis: { type: "category", categoryarray: labels, autorange: "reversed", dtick: 1 },
  };
  const told = sets.map((set, index) => `${set.name}: ${sum(values[index], measure)}`).join("; ");
  drawSeen(place, traces, layout, {
    alt: `${measure.title} of ${names.length} layers. ${told}. The table below has all values.`,
  });
  return h("figure", { dataset: { measure: measure.key } }, h("figcaption", {}, measure.title), place);
}

function sum(values, { key }) {
  const known = values.filter((each) => each !== null);
  const whole = known.reduce((all, each) => all + each, 0);
  if (key === "bytes") return `${bytes(whole)} in all`;
  if (key === "macs") return `${count(whole)} in all`;
  if (key === "loss") return `${significant(whole)} in all`;
  return `${significant(Math.min(...known))} to ${significant(Math.max(...known))}`;
}

function valuesOf(of, layers, names) {
  const rows = new Map(layers.map((row) => [row.name, row]));
  return names.map((name) => (rows.has(name) ? (of(rows.get(name)) ?? null) : null));
}

/** "5 of 16"; "–" if unknown. */
export function keptOf(kept, dense) {
  return kept === null || dense === null ? "–" : `${kept} of ${dense}`;
}

/** Bits of a layer's weights and inputs: "4", "8, inputs 8". */
export function bitsOf({ weight_bits: weights, activation_bits: inputs }) {
  return `${weights ?? "float"}${inputs === null ? "" : `, inputs ${inputs}`}`;
}

/** Calibration of several candidates: overlaid reliability diagrams, and scores. */

import { h } from "../dom.js";
import { number, significant } from "../format.js";
import { GREY, canvas, drawSeen, plain } from "../plot.js";
import { table } from "../ui.js";

/** Diagrams and table of calibration audits. */
export function calibration(sets) {
  const rows = [["dense model", sets[0].document.dense], ...sets.map(({ name, document }) => [name, document])];
  return [
    h(
      "div",
      { class: "figures" },
      diagram("Reliability of the models", sets, "reliability"),
      sets.some(({ document }) => document.reliability_after)
        ? diagram("Reliability after temperature scaling", sets, "reliability_after")
        : null,
    ),
    table({
      caption: "Scores of calibration",
      header: ["Version", "ECE", "NLL", "Brier", "Temperature", "ECE before it", "ECE after it", "Judged on"],
      rows: rows.map(([name, each]) => [
        name,
        number(each.ece, "1"),
        number(each.nll, "nat"),
        number(each.brier, "1"),
        each.temperature?.value === undefined || each.temperature.value === null
          ? (each.temperature?.reason ?? "–")
          : significant(each.temperature.value),
        number(each.ece_before, "1"),
        number(each.ece_after, "1"),
        each.judged ? `${each.judged} samples` : "–",
      ]),
      note: "ECE: how far confidence is from accuracy. A temperature is evaluated on samples it was not fitted to.",
    }),
  ];
}

function diagram(title, sets, key) {
  const place = canvas(360);
  const dense = sets[0].document.dense[key];
  const traces = [
    {
      type: "scatter",
      mode: "lines",
      x: [0, 1],
      y: [0, 1],
      name: "perfect calibration",
      line: { color: GREY, dash: "dot", width: 1 },
      hoverinfo: "skip",
    },
    dense ? curve({ name: "dense model", colour: GREY, symbol: "cross", dash: "solid" }, dense) : null,
    ...sets.map((set) => (set.document[key] ? curve(set, set.document[key]) : null)),
  ].filter(Boolean);
  const told = sets.map(({ name, document }) => `${name}: ECE ${number(document[key]?.ece, "1")}`).join("; ");
  drawSeen(
    place,
    traces,
    {
      margin: { t: 10, r: 15, b: 45, l: 55 },
      xaxis: { title: { text: "confidence" }, range: [0, 1.02] },
      yaxis: { title: { text: "accuracy" }, range: [0, 1.02] },
      showlegend: true,
      legend: { orientation: "h", y: -0.2, yanchor: "top" },
    },
    { alt: `Accuracy against confidence. ${told}.` },
  );
  return h("figure", {}, h("figcaption", {}, title), place);
}

function curve({ name, colour, symbol, dash }, { bins }) {
  const filled = bins.filter((each) => each.count);
  const most = Math.max(1, ...filled.map((each) => each.count));
  return {
    type: "scatter",
    mode: "lines+markers",
    name: plain(name),
    x: filled.map((each) => each.confidence),
    y: filled.map((each) => each.accuracy),
    customdata: filled.map((each) => each.count),
    line: { color: colour, width: 1.5, dash },
    // The area shows the number of samples behind a point.
    marker: { color: colour, symbol, size: filled.map((each) => 5 + 10 * Math.sqrt(each.count / most)) },
    cliponaxis: false,
    hovertemplate: "confidence %{x:.3f}, accuracy %{y:.3f}, %{customdata} samples<extra>%{fullData.name}</extra>",
  };
}

/** Effects of corruptions and noise on several candidates. */

import { h } from "../dom.js";
import { interval, label, number, significant } from "../format.js";
import { GREY, canvas, drawSeen, filling, plain } from "../plot.js";
import { table } from "../ui.js";

const SUITES = { c_like: "C-like corruptions", published: "published corruptions" };

/** Charts and tables of robustness audits. */
export function robustness(sets) {
  const suites = Object.keys(SUITES).filter((suite) => sets.some(({ document }) => document[suite]));
  return [
    h(
      "div",
      { class: "figures" },
      suites.map((suite) => errors(suite, sets)),
      flips(sets),
    ),
    suites.map((suite) => [overall(suite, sets), byCorruption(suite, sets)]),
    stability(sets),
  ];
}

function corruptionsOf(suite, sets) {
  return [...new Set(sets.flatMap(({ document }) => (document[suite]?.corruptions ?? []).map((each) => each.name)))];
}

function errorOf({ document }, suite, name) {
  return document[suite]?.corruptions.find((each) => each.name === name)?.ce ?? null;
}

function errors(suite, sets) {
  const names = corruptionsOf(suite, sets);
  const told = sets.map(({ name }) => name).join(", ");
  const place = canvas(360);
  drawSeen(
    place,
    sets.map((set) => ({
      type: "bar",
      name: plain(set.name),
      x: names.map((name) => plain(label(name))),
      y: names.map((name) => errorOf(set, suite, name)),
      marker: filling(set),
      hovertemplate: "%{x}: CE %{y:.3f}<extra>%{fullData.name}</extra>",
    })),
    {
      barmode: "group",
      margin: { t: 40, r: 15, b: 90, l: 55 },
      showlegend: true,
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
      xaxis: { type: "category", tickangle: -40 },
      yaxis: { title: { text: "CE, 1 for dense" }, rangemode: "tozero" },
      shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: GREY, dash: "dot" } }],
    },
    {
      alt: `Errors under ${names.length} corruptions for ${told}, relative to dense. The table below has all values.`,
    },
  );
  return h("figure", {}, h("figcaption", {}, `Corruption error: ${SUITES[suite]}`), place);
}

function overall(suite, sets) {
  return table({
    caption: `mCE: ${SUITES[suite]}`,
    header: ["Version", "mCE (95% interval)", "relative mCE", "Clean accuracy", "Samples"],
    rows: sets
      .filter(({ document }) => document[suite])
      .map(({ name, document: { [suite]: found } }) => [
        name,
        interval({ value: found.mce, low: found.mce_low, high: found.mce_high, unit: "1" }),
        number(found.relative_mce, "1"),
        number(found.clean_accuracy, "1"),
        String(found.n),
      ]),
    note: "mCE: mean corruption error, each divided by the dense model's; 1 means as many errors as the dense model.",
  });
}

function byCorruption(suite, sets) {
  const names = corruptionsOf(suite, sets);
  return table({
    caption: `Corruption error, 1 for dense: ${SUITES[suite]}`,
    header: ["Corruption", ...sets.map(({ name }) => name)],
    rows: names.map((name) => [label(name), ...sets.map((set) => significant(errorOf(set, suite, name)))]),
    note: names.some((name) => sets.some((set) => errorOf(set, suite, name) === null))
      ? "–: the dense model makes no error under it, so there is nothing to divide by, or it was not tried."
      : "",
  });
}

function flips(sets) {
  const place = canvas(360);
  const lines = [
    {
      name: "dense model",
      colour: GREY,
      symbol: "cross",
      dash: "solid",
      rates: sets[0].document.dense.stability.flips,
    },
    ...sets.map((set) => ({ ...set, rates: set.document.stability.flips })),
  ];
  const told = lines.map(({ name }) => name).join(", ");
  drawSeen(
    place,
    lines.map(({ name, colour, symbol, dash, rates }) => ({
      type: "scatter",
      mode: "lines+markers",
      name: plain(name),
      x: rates.map((each) => each.level),
      y: rates.map((each) => each.value),
      error_y: {
        type: "data",
        symmetric: false,
        thickness: 1,
        width: 2,
        array: rates.map((each) => (each.high === null ? 0 : each.high - each.value)),
        arrayminus: rates.map((each) => (each.low === null ? 0 : each.value - each.low)),
      },
      line: { color: colour, dash, width: 1.5 },
      marker: { color: colour, symbol, size: 8 },
      hovertemplate: "noise %{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
    })),
    {
      margin: { t: 10, r: 15, b: 45, l: 55 },
      xaxis: { title: { text: "deviation of the noise, pixels in [0, 1]" } },
      yaxis: { title: { text: "flip rate" }, rangemode: "tozero" },
      showlegend: true,
      legend: { orientation: "h", y: -0.2, yanchor: "top" },
    },
    {
      alt: `Answers that noise flips, by its deviation, for ${told}. The table below has all values.`,
    },
  );
  return h("figure", {}, h("figcaption", {}, "Answers that Gaussian noise flips"), place);
}

function stability(sets) {
  const levels = [...new Set(sets.flatMap(({ document }) => document.stability.flips.map((each) => each.level)))].sort(
    (a, b) => a - b,
  );
  const at = (level) => (document) => document.stability.flips.find((each) => each.level === level);
  const rows = [
    ...levels.map((level) => [`flips with noise of ${level}`, at(level)]),
    ["agreement with dense on nothing but noise", (document) => document.stability.noise_agreement],
  ];
  return table({
    caption: "Under noise (95% intervals)",
    header: ["Rate", ...sets.map(({ name }) => name)],
    rows: rows.map(([text, of]) => [
      text,
      ...sets.map(({ document }) => (of(document) ? interval({ ...of(document), unit: "1" }) : "–")),
    ]),
  });
}

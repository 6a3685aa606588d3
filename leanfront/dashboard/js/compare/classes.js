/** Change of each class's recall, for several candidates. */

import { h } from "../dom.js";
import { signed } from "../format.js";
import { canvas, drawSeen, filling, plain } from "../plot.js";
import { table } from "../ui.js";

/** Largest number of classes drawn: those that changed most. */
const MOST_CLASSES = 60;

/** Charts and table of class audits. */
export function classes(sets) {
  const all = namesOf(sets);
  const names = all.length > MOST_CLASSES ? mostChanged(sets, all) : all;
  const place = canvas(420);
  const told = sets.map(({ name }) => name).join(", ");
  const traces = sets.map((set) => trace(set, names));
  drawSeen(
    place,
    traces,
    {
      barmode: "group",
      margin: { t: 40, r: 15, b: 60, l: 60 },
      showlegend: true,
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
      xaxis: { type: "category", title: { text: "class" } },
      yaxis: { title: { text: "change of recall, points" } },
    },
    {
      alt: `Change of recall of ${names.length} classes for ${told}. The table below has all values.`,
    },
  );
  const left = all.length - names.length;
  return [
    h("figure", {}, h("figcaption", {}, "Change of each class's recall"), place),
    left ? h("p", { class: "note" }, `The ${names.length} classes that changed most, of ${all.length}.`) : null,
    h(
      "ul",
      {},
      sets.map(({ name, document: { by_p: tested } }) =>
        h(
          "li",
          {},
          `${name}: lost more than the mean: ${tested.n_down}; lost less or gained: ${tested.n_up} (p ≤ .05).`,
        ),
      ),
    ),
    table({
      caption: "Change of recall, points",
      header: ["Class", ...sets.map(({ name }) => name)],
      rows: names.map((name) => [name, ...sets.map((set) => cell(groupOf(set, name)))]),
      note: "* differs from the mean change by Welch's test, p ≤ .05. In brackets: the change less the mean change.",
    }),
  ];
}

function namesOf(sets) {
  return [...new Set(sets.flatMap(({ document }) => document.groups.map((each) => String(each.name))))].sort((a, b) =>
    a.localeCompare(b, undefined, { numeric: true }),
  );
}

function groupOf({ document }, name) {
  return document.groups.find((each) => String(each.name) === name);
}

function mostChanged(sets, names) {
  const size = (name) => Math.max(...sets.map((set) => Math.abs(groupOf(set, name)?.absolute_points ?? 0)));
  const kept = new Set([...names].sort((a, b) => size(b) - size(a)).slice(0, MOST_CLASSES));
  return names.filter((name) => kept.has(name));
}

function trace(set, names) {
  const groups = names.map((name) => groupOf(set, name));
  return {
    type: "bar",
    name: plain(set.name),
    x: names.map(plain),
    y: groups.map((each) => each?.absolute_points ?? null),
    text: groups.map((each) => (each?.status === "significant" ? "*" : "")),
    textposition: "outside",
    cliponaxis: false,
    marker: filling(set),
    hovertemplate: "class %{x}: %{y:.1f} points %{text}<extra>%{fullData.name}</extra>",
  };
}

function cell(group) {
  if (!group || group.absolute_points === null) return "–";
  const tenth = (value) => signed(Number(value.toFixed(1)));
  const normalised = group.normalised_points === null ? "" : ` (${tenth(group.normalised_points)})`;
  const text = `${tenth(group.absolute_points)}${normalised}`;
  return group.status === "significant" ? h("strong", {}, `${text} *`) : text;
}

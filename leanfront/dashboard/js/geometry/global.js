/** View 4, global geometry: a measure by class, its distribution, and confusion between classes. */

import { fill, h } from "../dom.js";
import { significant } from "../format.js";
import { canvas, draw, plain } from "../plot.js";
import { button, table } from "../ui.js";
import { mean, titled } from "./data.js";
import { COLOUR, DASH, SYMBOL, below, shownModels } from "./marks.js";

const ROOM = { l: 60, r: 10, t: 10, b: 40 };

/** Parallel coordinates: one line per model over the classes; dashed for the selected samples. */
export function classLines(selection) {
  const { findings } = selection;
  const [place, numbers] = [canvas(340), h("div")];
  let heard = false;
  const fold = h("details", {}, h("summary", {}, "The means as a table"), numbers);
  selection.follow(show);
  return [place, fold];

  async function show() {
    const { way, measure } = selection;
    const classes = [...findings.classes];
    const own = shownModels(selection);
    // Labels, since names may be equal.
    const x = classes.map(([label]) => String(label));
    const traces = own.map(([key, model, name]) => ({
      x,
      y: findings.classMeans(model, way, measure),
      mode: "lines+markers",
      name: plain(name),
      line: { color: COLOUR[key], width: 2, dash: DASH[key] },
      marker: { symbol: SYMBOL[key], size: classes.map(([label]) => (selection.classes?.includes(label) ? 14 : 8)) },
    }));
    if (selection.samples !== null) {
      traces.push(
        ...own.slice(0, 2).filter(([key]) => key !== "dense").map(([key, model, name]) => ({
          x,
          y: findings.classMeans(model, way, measure, selection.chosen),
          mode: "lines+markers",
          connectgaps: true,
          name: plain(`${name}, selected`),
          line: { color: COLOUR[key], width: 1, dash: "dash" },
          marker: { symbol: SYMBOL[key], size: 5 },
        })),
      );
    }
    fill(numbers, tableOf(own, classes));
    await draw(
      place,
      traces,
      {
        margin: ROOM,
        xaxis: {
          type: "category",
          tickvals: x,
          ticktext: classes.map(([, name]) => plain(name)),
          tickangle: classes.length > 8 ? -40 : 0,
        },
        yaxis: { title: { text: `mean ${titled(measure)}` } },
        legend: { ...below(), y: -0.3 },
      },
      {
        alt:
          `Mean ${measure} of each class, ${findings.ways[way]}, under ${own.map(([, , name]) => name).join(", ")}; ` +
          "the table below has the numbers.",
      },
    );
    if (!heard) place.on("plotly_click", ({ points: [point] }) => selection.toggleClass(Number(point.x)));
    heard = true;
  }

  function tableOf(own, classes) {
    const { way, measure } = selection;
    const means = own.map(([, model]) => findings.classMeans(model, way, measure));
    return table({
      caption: `Mean ${titled(measure)} of each class, ${findings.ways[way]}`,
      header: ["class", ...own.map(([, , name]) => name)],
      rows: classes.map(([, name], row) => [name, ...means.map((each) => significant(each[row]))]),
    });
  }
}

/** Density: distribution of the measure over all samples, and over the selected ones. */
export function density(selection) {
  const { findings } = selection;
  const [place, told] = [canvas(300), h("p", { class: "note" })];
  selection.follow(show);
  return [place, told];

  async function show() {
    const { way, measure, chosen } = selection;
    const own = shownModels(selection);
    const edges = findings.edges(measure, own.map(([, model]) => model), [way]);
    const middles = edges.slice(1).map((edge, bin) => (edge + edges[bin]) / 2);
    const line = (key, model, name, samples, dash) => ({
      x: middles,
      y: shares(findings.histogram(model, way, measure, samples, edges)),
      mode: "lines",
      name: plain(name),
      line: { color: COLOUR[key], width: dash === "dash" ? 1.5 : 2, dash, shape: "hvh" },
    });
    const traces = own.map(([key, model, name]) => line(key, model, name, findings.samples, DASH[key]));
    if (selection.narrowed) {
      const some = own.filter(([key]) => key !== "dense");
      traces.push(
        ...some.map(([key, model, name]) => line(key, model, `${name}, selected`, chosen, "dash")),
      );
    }
    const said = own.map(([, model, name]) => {
      const values = findings.values(model, way, measure);
      return `${name} ${significant(mean(chosen.map((sample) => values[sample])))}`;
    });
    const which = selection.narrowed ? "the selected" : "all";
    fill(told, `Mean ${titled(measure)} of ${which} samples: ${said.join("; ")}.`);
    await draw(
      place,
      traces,
      {
        margin: ROOM,
        xaxis: { title: { text: titled(measure) } },
        yaxis: { title: { text: "share of samples" } },
        legend: { ...below(), y: -0.3 },
      },
      { alt: `How the ${measure} spreads, ${findings.ways[way]}, under ${own.map(([, , name]) => name).join(", ")}.` },
    );
  }
}

/** Confusion of classes under A and under B; a cell selects its samples. */
export function confusion(selection) {
  const { findings } = selection;
  const places = { a: h("div"), b: h("div") };
  selection.follow(() => {
    for (const [slot, place] of Object.entries(places)) {
      const focused = place.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
      const left = place.firstElementChild?.scrollLeft ?? 0;
      if (slot === "b" && selection.a === selection.b) fill(place);
      else fill(place, matrix(slot));
      if (place.firstElementChild) place.firstElementChild.scrollLeft = left;
      if (focused) place.querySelector(`[data-cell="${focused}"]`)?.focus();
    }
  });
  return h("div", { class: "panels" }, places.a, places.b);

  function matrix(slot) {
    const model = selection[slot];
    const names = [...findings.classes.values()];
    const found = findings.confusion(model, selection.way, findings.samples);
    const others = found.some((row) => row.at(-1).length);
    const most = Math.max(1, ...found.flat().map((samples) => samples.length));
    const chosen = selection.samples?.join();
    const selected = new Set(selection.chosen);
    const header = others ? [...names, "another"] : names;
    const title = `Taken by ${slot.toUpperCase()} (${findings.names[model]}) for, ${findings.ways[selection.way]}`;
    const rows = found.map((row, truth) =>
      (others ? row : row.slice(0, -1)).map((samples, answer) => {
        if (!samples.length) return h("td", {}, h("span", { class: "none" }, "0"));
        const part = samples.filter((sample) => selected.has(sample)).length;
        const text = selection.narrowed ? `${part}/${samples.length}` : String(samples.length);
        const said = `${names[truth]} taken for ${header[answer]} by ${slot.toUpperCase()}`;
        const made = button(text, () => selection.set({ samples, classes: null }), {
          class: `plain cell ${truth === answer ? "right" : "mistake"}`,
          "aria-label": `${said}: ${samples.length} samples, ${part} of them selected`,
          "aria-pressed": String(samples.join() === chosen),
          "data-cell": `${truth}-${answer}`,
        });
        made.style.setProperty("--share", String(samples.length / most));
        return h("td", {}, made);
      }),
    );
    return h(
      "div",
      { class: "table", tabindex: 0, role: "region", "aria-label": title },
      h(
        "table",
        { class: "confusion" },
        h("caption", {}, title),
        h("thead", {}, h("tr", {}, ["true", ...header].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, rows.map((cells, truth) => h("tr", {}, h("th", { scope: "row" }, names[truth]), cells))),
      ),
    );
  }
}

function shares(counts) {
  const sum = counts.reduce((before, count) => before + count, 0);
  return counts.map((count) => (sum ? count / sum : 0));
}

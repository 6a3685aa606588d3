/** View 2, similarity: a point a model, close where features lie alike; and view 3, angle against norm of samples. */

import { h, unique } from "./dom.js";
import { titled } from "./geometry-data.js";
import { BLUE, GREY, ORANGE, canvas, draw, marks, plain, shade } from "./plot.js";
import { field, select } from "./ui.js";

export const COLOUR = { a: ORANGE, b: BLUE };
const FAINT = 0.12;

/** The map of models under the chosen corruption; a click chooses a model. */
export function similarity(selection) {
  const { findings } = selection;
  const place = canvas(400);
  const own = findings.document.similarity.ways;
  let kind = "scaling";
  let heard = false;
  const kinds = select([["scaling", "distances (MDS)"], ["umap", "neighbours (UMAP)"]], kind, (value) => {
    kind = value;
    show();
  });
  const choice = field("Map by", kinds);
  selection.follow(show);
  return [choice, place];

  async function show() {
    const here = own[selection.way];
    choice.hidden = !here.umap;
    const points = kind === "umap" && here.umap ? here.umap : here.points;
    const links = points === here.umap ? [] : here.links;
    const ends = links.flatMap(([first, second]) => [points[first], points[second], [null, null]]);
    const traces = [
      {
        x: ends.map(([x]) => x),
        y: ends.map(([, y]) => y),
        mode: "lines",
        line: { color: GREY, width: 1 },
        hoverinfo: "skip",
        name: "nearest",
      },
      ...findings.criteria.map((criterion, turn) => models(criterion, turn, points)),
      ...["a", "b"].map((slot) => ring(slot, points)),
    ];
    const axis = { showticklabels: false, zeroline: false };
    await draw(
      place,
      traces,
      { margin: { l: 10, r: 10, t: 10, b: 10 }, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, legend: below() },
      {
        alt:
          `Map of ${findings.names.length} models, ${findings.ways[selection.way]}: those close to one another have alike ` +
          `angles, norms and margins. The lists above choose models, too.`,
      },
    );
    if (!heard) place.on("plotly_click", ({ points: [point] }) => point.customdata !== undefined && selection.pick(point.customdata));
    heard = true;
  }

  function models(criterion, turn, points) {
    const places = findings.models.flatMap((model, each) => (String(model.criterion) === criterion ? [each] : []));
    return {
      x: places.map((each) => points[each][0]),
      y: places.map((each) => points[each][1]),
      customdata: places,
      text: places.map((each) => plain(findings.names[each])),
      hovertemplate: "%{text}<extra></extra>",
      mode: "markers",
      name: plain(criterion),
      // The more is pruned, the smaller.
      marker: { ...marks(turn), size: places.map((each) => 15 - 9 * (findings.models[each].ratio ?? 0)) },
    };
  }

  function ring(slot, points) {
    const [x, y] = points[selection[slot]];
    return {
      x: [x],
      y: [y],
      mode: "markers+text",
      text: [slot.toUpperCase()],
      // Where both are one model, both letters can be read.
      textposition: slot === "a" ? "top left" : "top right",
      textfont: { size: 15, color: shade("text") },
      marker: { symbol: "circle-open", size: slot === "a" ? 20 : 24, color: COLOUR[slot], line: { width: 3 } },
      hoverinfo: "skip",
      showlegend: false,
    };
  }
}

/** Angle against norm of every sample under A and B; a box or a lasso on it selects samples. */
export function local(selection) {
  const { findings } = selection;
  const place = canvas(440, { class: "brushed", id: unique("local") });
  let tool = "select";
  let heard = false;
  selection.follow(show);
  return place;

  async function show() {
    const chosen = new Set(selection.chosen);
    const ends = { a: points(selection.a), b: points(selection.b) };
    const traces = [changes(ends, chosen)];
    const groups = [...findings.classes.keys(), null];
    for (const label of groups) {
      const own = findings.samples.filter((sample) =>
        label === null ? !findings.classes.has(findings.labels[sample]) : findings.labels[sample] === label,
      );
      if (own.length) traces.push(...["a", "b"].map((slot) => dots(slot, label, own, ends[slot], chosen)));
    }
    const norms = [...ends.a, ...ends.b].map(([norm]) => norm);
    const log = norms.every((norm) => norm === null || norm > 0);
    await draw(
      place,
      traces,
      {
        margin: { l: 55, r: 10, t: 10, b: 40 },
        dragmode: tool,
        xaxis: { title: { text: titled("norm") }, type: log ? "log" : "linear" },
        yaxis: { title: { text: titled("angle") } },
        legend: below(),
        // What was brushed is marked by itself.
        selections: [],
      },
      {
        alt:
          `Angle against norm of ${chosen.size} samples under ${findings.names[selection.a]} (open) and ` +
          `${findings.names[selection.b]} (filled), ${findings.ways[selection.way]}. The range above selects samples by numbers.`,
        config: { modeBarButtonsToRemove: ["zoomIn2d", "zoomOut2d", "autoScale2d"] },
      },
    );
    if (heard) return;
    heard = true;
    place.on("plotly_selected", (event) => {
      if (!event?.range && !event?.lassoPoints) return;
      const found = event.points.map((point) => point.customdata).filter(Number.isInteger);
      selection.set({ samples: [...new Set(found)].sort((x, y) => x - y) });
    });
    place.on("plotly_deselect", () => selection.set({ samples: null }));
    place.on("plotly_relayout", (event) => {
      tool = event.dragmode ?? tool;
    });
  }

  function points(model) {
    const angles = findings.values(model, selection.way, "angle");
    return findings.values(model, selection.way, "norm").map((norm, sample) => [norm, angles[sample]]);
  }

  /** The lines from A to B of the chosen samples. */
  function changes(ends, chosen) {
    const pairs = selection.a === selection.b ? [] : [...chosen].flatMap((sample) => [ends.a[sample], ends.b[sample], [null, null]]);
    return {
      x: pairs.map(([norm]) => norm),
      y: pairs.map(([, angle]) => angle),
      mode: "lines",
      line: { color: GREY, width: 1 },
      opacity: selection.narrowed ? 0.8 : 0.3,
      hoverinfo: "skip",
      name: "A to B",
    };
  }

  function dots(slot, label, own, ends, chosen) {
    const { color, symbol } = label === null ? { color: GREY, symbol: "circle" } : marks(findings.classPlace(label));
    const name = label === null ? "other classes" : findings.className(label);
    const predicted = findings.predicted(selection[slot], selection.way);
    return {
      x: own.map((sample) => ends[sample][0]),
      y: own.map((sample) => ends[sample][1]),
      customdata: own,
      text: own.map((sample) =>
        plain(`sample ${sample}, ${slot.toUpperCase()}: ${findings.className(findings.labels[sample])} taken for ` +
          findings.className(predicted[sample])),
      ),
      hovertemplate: "%{text}<br>norm %{x:.3g}, angle %{y:.3g}<extra></extra>",
      mode: "markers",
      name: plain(name),
      legendgroup: `class ${label}`,
      showlegend: slot === "b",
      marker: {
        color,
        symbol: slot === "a" ? `${symbol}-open` : symbol,
        size: 7,
        opacity: own.map((sample) => (chosen.has(sample) ? 0.9 : FAINT)),
      },
    };
  }
}

/** A legend under a chart: beside it there is no room on a phone. */
export function below() {
  return { orientation: "h", y: -0.15, font: { size: 11 } };
}

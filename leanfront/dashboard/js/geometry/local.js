/** View 3, local geometry: angle against norm of samples under both models, with brushing. */

import { GREY, canvas, draw, marks, plain } from "../plot.js";
import { titled } from "./data.js";
import { below } from "./marks.js";

const CLEAR = 0.9;
const FAINT = 0.12;

/** Angle against norm of every sample under A and B; a box or lasso selects samples. */
export function local(selection) {
  const { findings } = selection;
  const place = canvas(440, { class: "brushed" });
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
        legend: { ...below(), y: -0.2 },
        // Plotly marks what was brushed.
        selections: [],
      },
      {
        alt:
          `Angle against norm of ${chosen.size} samples under ${findings.names[selection.a]} (open) and ` +
          `${findings.names[selection.b]} (filled), ${findings.ways[selection.way]}. ` +
          "The range above selects samples by numbers.",
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

  /** Lines from A to B for the selected samples. */
  function changes(ends, chosen) {
    const moved = selection.a === selection.b ? [] : [...chosen];
    // The gap separates the lines of two samples.
    const pairs = moved.flatMap((sample) => [ends.a[sample], ends.b[sample], [null, null]]);
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
        opacity: CLEAR,
      },
      selectedpoints: selection.narrowed ? own.flatMap((sample, turn) => (chosen.has(sample) ? [turn] : [])) : null,
      selected: { marker: { opacity: CLEAR } },
      unselected: { marker: { opacity: FAINT } },
    };
  }
}

/** View 2, similarity: one point per model, near models with similar features. */

import { GREY, canvas, draw, marks, plain } from "../plot.js";
import { field, select } from "../ui.js";
import { COLOUR, below } from "./marks.js";

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
          `Map of ${findings.names.length} models, ${findings.ways[selection.way]}: models close to each other have ` +
          "similar angles, norms and margins. The lists above also choose models.",
      },
    );
    if (!heard) {
      place.on("plotly_click", ({ points: [point] }) => {
        if (point.customdata !== undefined) selection.pick(point.customdata);
      });
    }
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
      // More pruning means smaller points.
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
      // If A and B are one model, both letters stay readable.
      textposition: slot === "a" ? "top left" : "top right",
      textfont: { size: 15 },
      marker: { symbol: "circle-open", size: slot === "a" ? 20 : 24, color: COLOUR[slot], line: { width: 3 } },
      hoverinfo: "skip",
      showlegend: false,
    };
  }
}

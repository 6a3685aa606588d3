/** View 1, evaluation: accuracy of every model under every corruption, with the distribution of a measure. */

import { fill, h, svg } from "../dom.js";
import { number } from "../format.js";
import { button } from "../ui.js";

const WIDTH = 60;
const HEIGHT = 16;

/** The table; cells, rows and columns choose the model and the corruption. */
export function evaluation(selection) {
  const { findings } = selection;
  const caption = h("caption");
  const cells = [];
  const rows = findings.names.map((name, model) => {
    const own = findings.ways.map((way, place) => cell(name, model, way, place));
    const head = slotButtons(name, model);
    cells.push({ own, head });
    return h("tr", {}, h("th", { scope: "row" }, head.element), own.map((each) => h("td", {}, each.button)));
  });
  const columns = findings.ways.map((name, way) => button(name, () => selection.set({ way }), { class: "plain" }));
  const table = h(
    "table",
    { class: "evaluation" },
    caption,
    h("thead", {}, h("tr", {}, ["model", ...columns].map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, rows),
  );
  selection.follow(() => {
    const chosen = selection.chosen;
    const of = selection.narrowed ? `the ${chosen.length} selected samples` : `all ${chosen.length} samples`;
    const edges = findings.edges(selection.measure, [...findings.models.keys()], [...findings.ways.keys()]);
    fill(caption, `Accuracy on ${of}, and how their ${selection.measure} spreads (grey: of all samples)`);
    columns.forEach((each, place) => each.setAttribute("aria-pressed", String(place === selection.way)));
    cells.forEach(({ own, head }, model) => {
      head.mark();
      own.forEach((each, way) => each.mark(model, way, chosen, edges));
    });
  });
  return h("div", { class: "table tall", tabindex: 0, role: "region", "aria-label": "Evaluation" }, table);

  function slotButtons(name, model) {
    const made = ["a", "b"].map((slot) =>
      button(slot.toUpperCase(), () => selection.set({ [slot]: model }), {
        class: `slot ${slot}`,
        "aria-label": `${name} as model ${slot.toUpperCase()}`,
      }),
    );
    return {
      element: [h("span", { class: "model" }, name), " ", made],
      mark() {
        made[0].setAttribute("aria-pressed", String(selection.a === model));
        made[1].setAttribute("aria-pressed", String(selection.b === model));
      },
    };
  }

  function cell(name, model, way, place) {
    const value = h("span");
    const [all, part] = [svg("path", { class: "all" }), svg("path", { class: "part" })];
    const made = button("", () => selection.pick(model, { way: place }), { class: "plain cell" });
    made.append(value, svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, all, part));
    return {
      button: made,
      mark(row, column, chosen, edges) {
        const share = number(findings.accuracy(row, column, chosen), "1");
        fill(value, share);
        made.setAttribute("aria-label", `${name}, ${way}: accuracy ${share}`);
        const slots = ["a", "b"].filter((slot) => selection[slot] === row && selection.way === column);
        made.setAttribute("aria-pressed", String(slots.length > 0));
        const counts = findings.histogram(row, column, selection.measure, findings.samples, edges);
        const most = Math.max(...counts, 1);
        all.setAttribute("d", bars(counts, most));
        const own = selection.narrowed ? findings.histogram(row, column, selection.measure, chosen, edges) : counts;
        part.setAttribute("d", bars(own, most));
      },
    };
  }
}

function bars(counts, most) {
  const width = WIDTH / counts.length;
  const steps = counts.map((count, place) => {
    const [x, height, across] = [place * width, (HEIGHT * count) / most, width - 0.5].map((each) => each.toFixed(1));
    return count ? `M${x} ${HEIGHT}v-${height}h${across}V${HEIGHT}z` : "";
  });
  return steps.join("");
}

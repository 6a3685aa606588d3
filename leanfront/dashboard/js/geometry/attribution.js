/** View 5, attribution: effect of covering each patch of an image on the chosen measure, for models A and B. */

import { fill, h, svg } from "../dom.js";
import { significant } from "../format.js";
import { BLUE, VERMILION } from "../plot.js";
import { button, empty } from "../ui.js";

const CELL = 10;
/** Quantile of the changes at which the colour scale ends; outliers would hide the rest. */
const COVERED = 0.9;

/** Heat maps of those selected samples that have them. */
export function attribution(selection) {
  const { findings } = selection;
  const place = h("div");
  selection.follow(() => fill(place, content()));
  return place;

  function content() {
    const own = findings.document.occlusion;
    if (own.reason) return empty(`No image was covered: ${own.reason}.`);
    const models = [...new Set([selection.a, selection.b])];
    const known = models.filter((model) => own.models.includes(model));
    const samples = selection.chosen.filter((sample) => own.samples.includes(sample));
    if (!samples.length) {
      return empty(
        `None of the selected samples was covered patch by patch; ${own.samples.length} samples were.`,
        button("Select those", () => selection.set({ samples: [...own.samples].sort((x, y) => x - y), classes: null })),
      );
    }
    const changes = samples.flatMap((sample) =>
      known.flatMap((model) => findings.occlusion(model, sample, selection.measure).flat()),
    );
    const end = quantile(changes.filter((value) => value !== null).map(Math.abs), COVERED) || 1;
    return [
      h(
        "p",
        { class: "note" },
        `On clean images, patches of ${own.patch} pixels: vermilion where covering one takes from the ` +
          `${selection.measure}, blue where it adds; full colour from ${significant(end)} on.`,
      ),
      known.length < models.length ? missing(own) : null,
      known.length ? h("ul", { class: "maps" }, samples.map((sample) => card(sample, models, end))) : null,
    ];
  }

  function missing(own) {
    return empty(
      "Not all models were analysed in this way. These were:",
      h(
        "div",
        { class: "actions" },
        own.models.map((model) =>
          button(findings.names[model], () => selection.pick(model), {
            "aria-pressed": String(model === selection.a || model === selection.b),
          }),
        ),
      ),
    );
  }

  function card(sample, models, end) {
    const said = `sample ${sample}, ${findings.className(findings.labels[sample])}`;
    return h(
      "li",
      {},
      h("p", {}, said),
      h(
        "div",
        { class: "row" },
        image(findings, sample),
        models.map((model, turn) => {
          const letter = turn === 0 ? "A" : "B";
          const values = findings.occlusion(model, sample, selection.measure);
          if (values === null) return null;
          const title = `${letter}: ${findings.names[model]}`;
          const map = heat(values, end, `${said} under ${title}`);
          return h("figure", {}, h("figcaption", {}, title), map, numbers(values));
        }),
      ),
    );
  }
}

/** The image of a sample, or a placeholder if there is none. */
export function image(findings, sample) {
  const found = findings.images[sample];
  const name = `sample ${sample}: ${findings.className(findings.labels[sample])}`;
  // Only images are requested.
  if (typeof found === "string" && found.startsWith("data:image/")) return h("img", { src: found, alt: name });
  return h("div", { class: "nothing" }, "no image");
}

function heat(values, end, said) {
  const [height, width] = [values.length, values[0].length];
  const cells = values.flatMap((row, y) => row.map((value, x) => ({ value, x, y })));
  const flat = cells.filter(({ value }) => value !== null);
  const worst = flat.reduce((before, each) => (each.value < before.value ? each : before), flat[0]);
  const alt = worst
    ? `${said}: ${significant(worst.value)} at the lowest, with row ${worst.y + 1}, column ${worst.x + 1} covered`
    : `${said}: not known`;
  return svg(
    "svg",
    { class: "heat", viewBox: `0 0 ${width * CELL} ${height * CELL}`, role: "img", "aria-label": alt },
    flat.map(({ value, x, y }) =>
      svg(
        "rect",
        {
          x: x * CELL,
          y: y * CELL,
          width: CELL,
          height: CELL,
          fill: value < 0 ? VERMILION : BLUE,
          "fill-opacity": Math.min(1, Math.abs(value) / end).toFixed(3),
        },
        svg("title", {}, `row ${y + 1}, column ${x + 1}: ${significant(value)}`),
      ),
    ),
  );
}

function numbers(values) {
  const rows = values.map((row) => h("tr", {}, row.map((value) => h("td", {}, significant(value)))));
  return h(
    "details",
    {},
    h("summary", {}, "numbers"),
    h(
      "div",
      { class: "table", tabindex: 0, role: "region", "aria-label": "Changes" },
      h("table", {}, h("tbody", {}, rows)),
    ),
  );
}

function quantile(values, share) {
  const sorted = [...values].sort((x, y) => x - y);
  return sorted[Math.floor(share * (sorted.length - 1))];
}

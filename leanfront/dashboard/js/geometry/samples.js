/** View 6, samples: images of the selection, and the answers of both models. */

import { fill, h } from "../dom.js";
import { significant } from "../format.js";
import { button, empty, facts } from "../ui.js";
import { image } from "./attribution.js";

const PAGE = 48;

/** The gallery of the selected samples. */
export function samples(selection) {
  const { findings } = selection;
  const place = h("div");
  let shown = PAGE;
  selection.follow(() => {
    shown = PAGE;
    show();
  });
  return place;

  function show(from = null) {
    const chosen = selection.chosen;
    if (!chosen.length) {
      const clear = button("Clear selection", () => selection.set({ classes: null, samples: null }));
      fill(place, empty("No sample is selected.", clear));
      return;
    }
    const cards = chosen.slice(0, shown).map(card);
    const rest = chosen.length - cards.length;
    fill(
      place,
      h(
        "p",
        { class: "note" },
        `${cards.length} of ${chosen.length} shown; images without corruption. `,
        `Positions in the ${findings.document.split} split.`,
      ),
      h("ul", { class: "gallery samples" }, cards),
      rest > 0
        ? button(`Show ${Math.min(PAGE, rest)} more`, () => {
            const first = shown;
            shown += PAGE;
            show(first);
          })
        : null,
    );
    // Focus the first of the additional samples.
    if (from !== null) cards[from].querySelector("button").focus();
  }

  function card(sample) {
    const { a, b, way, measure } = selection;
    const models = a === b ? [["A and B", a]] : [["A", a], ["B", b]];
    const value = (model) => significant(findings.values(model, way, measure)[sample]);
    return h(
      "li",
      { dataset: { sample } },
      image(findings, sample),
      button(`sample ${sample}`, () => selection.set({ samples: [sample] }), {
        class: "plain only",
        "aria-label": `Only sample ${sample}`,
        "aria-pressed": String(selection.samples?.length === 1 && selection.samples[0] === sample),
      }),
      facts([
        ["position", String(findings.arrays.positions[sample])],
        ["true", findings.className(findings.labels[sample])],
        ...models.map(([slot, model]) => [slot, answer(sample, model, way)]),
        ...models.map(([slot, model]) => [`${measure} ${slot}`, value(model)]),
      ]),
    );
  }

  function answer(sample, model, way) {
    const found = findings.predicted(model, way)[sample];
    const right = found === findings.labels[sample];
    return h(
      "span",
      { class: right ? "good" : "wrong" },
      findings.className(found),
      h("span", { "aria-hidden": "true" }, right ? " ✓" : " ✗"),
      h("span", { class: "unseen" }, right ? " (right)" : " (wrong)"),
    );
  }
}

/** Lists and fields for everything that clicks on the views can choose. */

import { fill, h, unique } from "../dom.js";
import { button, field, select } from "../ui.js";
import { titled } from "./data.js";

/** The controls of a page's selection; they follow its changes. */
export function controls(selection) {
  const { findings } = selection;
  const choices = h("div", { class: "row" });
  const boxes = h("fieldset", { class: "classes" });
  selection.follow(() => {
    const focused = choices.contains(document.activeElement) ? document.activeElement.dataset.control : null;
    fill(choices, models(selection), ready(selection));
    if (focused) choices.querySelector(`[data-control="${focused}"]`)?.focus();
    if (!boxes.contains(document.activeElement)) fill(boxes, h("legend", {}, "Classes"), classBoxes(selection));
    else for (const box of boxes.querySelectorAll("input")) box.checked = isChecked(selection, Number(box.value));
  });
  return h(
    "section",
    { class: "panel controls", "aria-label": "Selection" },
    choices,
    slots(selection),
    findings.classes.size ? boxes : null,
    range(selection),
  );
}

/** The selection in words, and a button that selects all samples; it stays in sight. */
export function summary(selection) {
  const { names, ways } = selection.findings;
  const shown = h("p", {});
  const told = h("p", { class: "count", role: "status", "aria-live": "polite" });
  const clear = button("Clear selection", () => selection.set({ classes: null, samples: null }));
  let before = null;
  selection.follow(() => {
    const { a, b, way, measure } = selection;
    fill(shown, `A ${names[a]} · B ${names[b]} · ${ways[way]} · ${measure}`);
    clear.disabled = !selection.narrowed;
    const text = count(selection);
    // Announced once, not at every other change.
    if (text !== before) fill(told, text);
    before = text;
  });
  return h("div", { class: "summary" }, told, shown, clear);
}

function models(selection) {
  const { names, ways, measures } = selection.findings;
  const one = (key, text, options, value, change) =>
    field(
      text,
      select(options.map((each, place) => [String(place), each]), String(value), (chosen) => change(Number(chosen)), {
        "data-control": key,
      }),
    );
  return [
    one("a", "Model A", names, selection.a, (a) => selection.set({ a })),
    one("b", "Model B", names, selection.b, (b) => selection.set({ b })),
    one("way", "Corruption", ways, selection.way, (way) => selection.set({ way })),
    one("measure", "Measure", measures.map(titled), measures.indexOf(selection.measure), (place) =>
      selection.set({ measure: measures[place] }),
    ),
  ];
}

function ready(selection) {
  const lists = selection.findings.lists(selection.a, selection.b, selection.way);
  const own = selection.samples?.join();
  const chosen = lists.findIndex(([, samples]) => sorted(samples).join() === own);
  const options = [["", selection.samples === null ? "all samples" : "own selection"]];
  options.push(...lists.map(([text, samples], place) => [String(place), `${text} (${samples.length})`]));
  return field(
    "Ready selections",
    select(
      options,
      chosen < 0 ? "" : String(chosen),
      (place) => selection.set({ samples: place === "" ? null : sorted(lists[Number(place)][1]), classes: null }),
      { "data-control": "ready" },
    ),
  );
}

function slots(selection) {
  const name = unique("slot");
  return h(
    "fieldset",
    { class: "slots" },
    h("legend", {}, "A click on a model sets"),
    ["a", "b"].map((slot) => {
      const box = h("input", { type: "radio", name, id: unique(slot), checked: selection.slot === slot });
      box.addEventListener("change", () => {
        selection.slot = slot;
      });
      return h("label", { class: "check", for: box.id }, box, ` ${slot.toUpperCase()}`);
    }),
  );
}

function classBoxes(selection) {
  return [...selection.findings.classes].map(([label, name]) => {
    const checked = isChecked(selection, label);
    const box = h("input", { type: "checkbox", value: String(label), id: unique("class"), checked });
    box.addEventListener("change", () => selection.toggleClass(label));
    return h("label", { class: "check", for: box.id }, box, ` ${name}`);
  });
}

function isChecked(selection, label) {
  return selection.classes?.includes(label) ?? false;
}

/** Selection by numbers, as an alternative to brushing. */
function range(selection) {
  const { findings } = selection;
  const measures = findings.measures.map((each) => [each, titled(each)]);
  let measure = findings.measures[0];
  let model = "b";
  const ends = ["From", "To"].map((text) => [text, h("input", { type: "number", step: "any", required: true })]);
  const form = h(
    "form",
    { class: "row" },
    field("Measure", select(measures, measure, (value) => (measure = value))),
    field("Under", select([["a", "model A"], ["b", "model B"]], model, (value) => (model = value))),
    ends.map(([text, input]) => field(text, input)),
    h("button", {}, "Select"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [low, high] = ends.map(([, input]) => Number(input.value));
    const values = findings.values(selection[model], selection.way, measure);
    const within = (value) => value !== null && value >= low && value <= high;
    selection.set({ samples: findings.samples.filter((sample) => within(values[sample])) });
  });
  return h("details", {}, h("summary", {}, "Select samples by a range"), form);
}

function count(selection) {
  const { findings, classes, narrowed } = selection;
  const all = findings.samples.length;
  if (!narrowed) return `All ${all} samples.`;
  const of = classes === null ? "" : ` of ${classes.map((label) => findings.className(label)).join(", ")}`;
  return `${selection.chosen.length} of ${all} samples${of} selected.`;
}

function sorted(samples) {
  return [...samples].sort((x, y) => x - y);
}

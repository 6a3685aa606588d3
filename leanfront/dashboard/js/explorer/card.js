/** A short summary of a candidate, with actions. */

import { file, path } from "../api.js";
import { h } from "../dom.js";
import { interval, label, number, ratio } from "../format.js";
import { link } from "../shell.js";
import { chosen, MOST_COMPARED, onChange, toggle } from "../tray.js";
import { behind, button, facts, save, say } from "../ui.js";

const VERIFIED = new Map([
  [true, "✓ every claim holds in its file"],
  [false, "✗ some claims do not hold in its file"],
]);

/** A candidate's measurement: a cost, or a value on the validation split. */
export function measurementOf(candidate, name) {
  return candidate.measurements.find((each) => each.name === name && (!each.split || each.split === "validation"));
}

/** The objectives in words: "accuracy 0.98, memory 9.06 KB (23.3× less than dense), ...". */
export function sentence(candidate, objectives, dense) {
  const parts = objectives.map((name) => {
    const own = measurementOf(candidate, name);
    if (!own) return `${label(name)} not measured`;
    const model = dense.find((each) => each.name === name && !each.split);
    const less = own.split ? "" : ratio(own.value, model?.value);
    const value = own.split ? interval(own) : number(own.value, own.unit);
    return `${label(name)} ${value}${less ? ` (${less} than dense)` : ""}`;
  });
  return `Candidate ${candidate.id}: ${parts.join(", ")}.`;
}

/**
 * The card of a candidate.
 * @param {object} candidate answer of the API
 * @param {Array<string>} objectives measurements to show first
 * @param {Array<object>} dense measurements of the dense model
 */
export function card(candidate, objectives, dense, ...more) {
  const first = objectives.map((name) => [name, measurementOf(candidate, name)]);
  const { parent } = candidate;
  const rest = candidate.measurements.filter((each) => !first.some(([, own]) => own === each));
  return h(
    "div",
    { class: "candidate" },
    h("h3", {}, h("a", { href: link("candidates", candidate.id) }, `Candidate ${candidate.id}`)),
    facts([
      ...first.map(([name, own]) => [label(name), own ? said(own, dense) : "not measured"]),
      ["recovered from", parent === null ? null : h("a", { href: link("candidates", parent) }, `candidate ${parent}`)],
      ["verified", VERIFIED.get(candidate.verified)],
      [candidate.state, candidate.reason],
    ]),
    rest.length
      ? h("details", {}, h("summary", {}, "All measurements"), facts(rest.map((own) => [title(own), said(own, dense)])))
      : null,
    h(
      "div",
      { class: "actions" },
      h("a", { class: "button", href: link("candidates", candidate.id) }, "Open"),
      comparison(candidate.id),
      download(candidate.id),
      more,
    ),
  );
}

function title({ name, split }) {
  return split && split !== "validation" ? `${label(name)} on ${split}` : label(name);
}

function said(own, dense) {
  const model = dense.find((each) => each.name === own.name && each.split === own.split);
  const less = own.split ? "" : ratio(own.value, model?.value);
  return `${interval(own)}${less ? `, ${less} than dense` : ""}`;
}

/** A button that adds a candidate to the comparison or removes it. */
function comparison(id) {
  const made = button("", () => {
    if (!toggle(id)) say(`${MOST_COMPARED} candidates are already in the comparison: remove one first.`);
  });
  const show = () => {
    const within = chosen().includes(id);
    made.textContent = within ? "Remove from comparison" : "Add to comparison";
    made.setAttribute("aria-pressed", String(within));
  };
  show();
  onChange(show);
  return made;
}

function download(id) {
  const made = button("Download", () =>
    behind(made, async () => {
      const { blob, name } = await file(path("candidates", id, "artifact"));
      save(blob, name);
    }),
  );
  made.setAttribute("aria-label", `Download candidate ${id}`);
  return made;
}

/** One kind of audit of several candidates: what each found, and having made what is missing. */

import { get, path } from "../api.js";
import { Jobs } from "../audit-jobs.js";
import { fill, h } from "../dom.js";
import { link } from "../shell.js";
import { button, panel, say, show } from "../ui.js";
import { look } from "./choice.js";

/**
 * A panel of a kind of audit.
 * @param {string} kind
 * @param {string} title
 * @param {Array<object>} candidates with `name`
 * @param {function(Array<object>): Array<Node>} draw of what was found: `name`, look, and `document` each
 */
export function compared(kind, title, candidates, draw) {
  const holder = h("div");
  const refresh = () => show(holder, () => content(kind, candidates, draw, refresh));
  refresh();
  return panel(title, { class: `of-${kind}`, id: kind }, holder);
}

async function content(kind, candidates, draw, refresh) {
  const found = await Promise.all(candidates.map((each) => documentOf(each.id, kind)));
  const sets = candidates
    .map((each, place) => ({ ...each, ...look(place), audit: found[place], document: found[place]?.document }))
    .filter((each) => each.document);
  const missing = candidates.filter((_, place) => found[place] === null);
  return [
    missing.map((each) => absent(kind, each, refresh)),
    sets.length ? [unlike(sets), draw(sets), links(kind, sets)] : null,
  ];
}

async function documentOf(id, kind) {
  const where = path("candidates", id, "audits");
  // Asking for one that is not there would be an error in the browser's eyes.
  const rows = await get(where);
  return rows.some((row) => row.kind === kind) ? get(`${where}/${path(kind)}`) : null;
}

/** What is missing, and the button that has it made. */
function absent(kind, { id, name, state }, refresh) {
  if (state !== "complete")
    return h("p", { class: "empty" }, `${name} is ${state}: only complete candidates are audited.`);
  const told = h("span", { role: "status", "aria-live": "polite" });
  const jobs = new Jobs(path("candidates", id, "audits"), tell, (done) => done === kind && refresh());
  const control = button(`Audit candidate ${id}`, () => jobs.queue([kind], {}).catch((error) => say(error.message)), {
    "aria-label": `Audit candidate ${id}: ${kind}`,
  });
  function tell() {
    const job = jobs.known.get(kind);
    control.disabled = Boolean(job) && ["queued", "running"].includes(job.state);
    fill(
      told,
      job ? [h("span", { class: `state ${job.state}` }, job.state), job.message ? ` ${job.message}` : ""] : null,
      jobs.worked === false
        ? h(
            "span",
            { class: "warn" },
            " No worker for audits is running: start one with ",
            h("code", {}, "leanfront worker"),
            ".",
          )
        : null,
    );
  }
  tell();
  return h("p", { class: "empty missing" }, `${name} has no audit of this kind yet. `, control, " ", told);
}

/** Audits of other data or other options do not compare like with like: say so. */
function unlike(sets) {
  const told = sets.map(({ audit }) =>
    JSON.stringify([audit.document.split, audit.document.samples, audit.parameters]),
  );
  return new Set(told).size > 1
    ? h(
        "p",
        { class: "warn" },
        "These audits were made with different options or samples: compare their figures with care.",
      )
    : null;
}

function links(kind, sets) {
  return h(
    "p",
    { class: "row" },
    sets.map(({ id, name }) => h("a", { href: link("candidates", id, "audits", kind) }, `The whole audit of ${name}`)),
  );
}

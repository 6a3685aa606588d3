/** One kind of audit for several candidates: their results, and buttons to make missing ones. */

import { get, path } from "../api.js";
import { Jobs } from "../audit-jobs.js";
import { fill, h } from "../dom.js";
import { link } from "../shell.js";
import { button, panel, say, show } from "../ui.js";
import { look } from "./choice.js";

/**
 * The panel of a kind of audit.
 * @param {string} kind
 * @param {string} title
 * @param {Array<object>} candidates with `name`
 * @param {function(Array<object>): Array<Node>} draw draws results, each with `name`, look, and `document`
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
  // A request for a missing one would be logged as an error by the browser.
  const rows = await get(where);
  return rows.some((row) => row.kind === kind) ? get(`${where}/${path(kind)}`) : null;
}

/** Text for a missing audit, and a button that queues it. */
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

/** Warn if audits used different data or options and are not comparable. */
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

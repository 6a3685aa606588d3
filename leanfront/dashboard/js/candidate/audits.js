/** A candidate's audits, and buttons to make missing ones. */

import { get, path } from "../api.js";
import { Jobs } from "../audit-jobs.js";
import { fill, h } from "../dom.js";
import { moment } from "../format.js";
import { link } from "../shell.js";
import { button, empty, say } from "../ui.js";

/** All kinds of audit, each with a link to it or a button that queues it. */
export async function auditsOf(candidate) {
  const where = path("candidates", candidate.id, "audits");
  const [kinds, rows, whole] = await Promise.all([
    get("audits/kinds"),
    get(where),
    get(path("searches", candidate.search, "audits")),
  ]);
  const made = new Map(rows.map((row) => [row.kind, row]));
  const list = h("ul", { class: "plain-list audits-made", "aria-live": "polite" });
  const jobs = new Jobs(where, tell, (kind) => {
    made.set(kind, { created: new Date().toISOString() });
    tell();
  });
  const page = (kind) => link("candidates", candidate.id, "audits", kind);
  const state = (kind) => {
    const job = jobs.known.get(kind);
    if (job) return [h("span", { class: `state ${job.state}` }, job.state), job.message ? ` ${job.message}` : null];
    if (made.has(kind)) return h("small", {}, moment(made.get(kind).created));
    return candidate.state === "complete"
      ? button("Audit now", () => jobs.queue([kind], {}).catch((error) => say(error.message)), {
          "aria-label": `Audit now: ${kind}`,
        })
      : h("small", {}, "not made");
  };
  function tell() {
    fill(
      list,
      kinds.map(({ kind, title }) =>
        h("li", {}, made.has(kind) ? h("a", { href: page(kind) }, title) : h("span", {}, title), " ", state(kind)),
      ),
    );
    if (jobs.worked === false)
      list.append(
        h(
          "li",
          { class: "warn" },
          "No worker for audits is running: start one with ",
          h("code", {}, "leanfront worker"),
          ".",
        ),
      );
  }
  tell();
  return [
    candidate.state === "complete" ? null : empty(`It is ${candidate.state}: only complete candidates are audited.`),
    list,
    h(
      "p",
      {},
      h("a", { href: link("candidates", candidate.id, "audits") }, "All audits of this candidate, and their options"),
    ),
    h(
      "p",
      {},
      h(
        "a",
        { href: link("searches", candidate.search, "audits") },
        `Audits of the whole search (${whole.length} made)`,
      ),
    ),
  ];
}

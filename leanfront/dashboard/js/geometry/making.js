/** Queueing the audit that the page shows. */

import { path } from "../api.js";
import { Jobs } from "../audit-jobs.js";
import { fill, h } from "../dom.js";
import { link } from "../shell.js";
import { behind, button, empty } from "../ui.js";

const KIND = "geometry";

/**
 * The purpose of the audit, a button that queues it, and its progress.
 * @param {string} search
 * @param {function(): void} done called after the audit was made
 */
export function making(search, done) {
  const state = h("div", { role: "status", "aria-live": "polite" });
  const queue = (event) => behind(event.currentTarget, () => jobs.queue([KIND], {}));
  const order = button("Audit now", queue, { class: "primary" });
  const jobs = new Jobs(path("searches", search, "audits"), tell, (kind, ended) => {
    if (kind === KIND && ended === "done") done();
    else tell();
  });
  tell();
  return empty(
    "The geometry of this search has not been audited yet.",
    h(
      "p",
      {},
      "This audit prunes the model by several criteria, at several ratios, and measures where samples lie before the " +
        "last layer: the angle to their class, the length of their features, and the margin to the next class, clean " +
        "and corrupted. It shows which criteria are similar, what corruption does to each, which samples are lost. " +
        "On a large model it takes a worker hours.",
    ),
    h("p", {}, h("a", { href: link("searches", search, "audits", KIND) }, "Choose criteria, corruptions and samples")),
    h("div", { class: "actions" }, order),
    state,
  );

  function tell() {
    const job = jobs.known.get(KIND);
    order.hidden = job !== undefined && ["queued", "running", "cancelling"].includes(job.state);
    fill(
      state,
      job ? h("p", {}, "The audit is ", sign(job.state), job.message ? ` ${job.message}` : "") : null,
      jobs.worked === false
        ? h(
            "p",
            { class: "warn" },
            "No worker for audits is running. Start one with ",
            h("code", {}, "leanfront worker"),
            "; queued audits wait for it.",
          )
        : null,
    );
  }
}

function sign(state) {
  return h("span", { class: `state ${state}` }, state);
}

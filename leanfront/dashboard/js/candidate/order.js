/** Buttons that queue work for a worker, follow it to its end, and show the result in words. */

import { get, path, Problem } from "../api.js";
import { fill, h } from "../dom.js";
import { ENDED, worked } from "../jobs.js";
import { button, failure } from "../ui.js";

const PERIOD = 700;

/**
 * A button that queues work, and a status text.
 * @param {string} text text of the button
 * @param {string} kind kind of the job; used to find out whether a worker takes it
 * @param {function(): Promise<object>} queue posts the work and returns the job
 * @param {function(object): (void|Promise<void>)} done called with the job when it is done
 * @param {object} [properties] properties of the button
 */
export function order(text, kind, queue, done, properties = {}) {
  const told = h("span", { class: "told", role: "status", "aria-live": "polite" });
  const control = button(text, run, properties);
  return h("span", { class: "order" }, control, " ", told);

  async function run() {
    control.disabled = true;
    try {
      const job = await followed(await queue(), kind, (each, idle) => tell(told, each, idle));
      if (job.state === "done") await done(job);
    } catch (error) {
      fill(told, failure(error));
    } finally {
      control.disabled = false;
    }
  }
}

function tell(place, job, idle) {
  fill(
    place,
    h("span", { class: `state ${job.state}` }, job.state),
    job.message ? ` ${job.message}` : "",
    idle
      ? h(
          "span",
          { class: "warn" },
          " No worker for this is running: start one with ",
          h("code", {}, "leanfront worker"),
          ".",
        )
      : "",
  );
}

/** Poll a job until it has ended. */
async function followed(first, kind, heard) {
  let job = first;
  for (;;) {
    heard(job, job.state === "queued" && !(await worked(kind)));
    if (ENDED.includes(job.state)) return job;
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
    try {
      job = await get(path("jobs", job.id));
    } catch (error) {
      // The server may be away for a while; queued work is kept.
      if (!(error instanceof Problem) || error.status === 404) throw error;
    }
  }
}

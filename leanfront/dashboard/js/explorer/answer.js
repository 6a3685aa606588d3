/** The answer to a budget query: the candidate, or the nearest one and the binding limit. */

import { get, path, post, Problem } from "../api.js";
import { fill, h } from "../dom.js";
import { label, number } from "../format.js";
import { ENDED } from "../jobs.js";
import { behind, button } from "../ui.js";
import { card, measurementOf, sentence } from "./card.js";
import { limits, question } from "./view.js";

const PERIOD = 1500;

/** Requests answers, one at a time, and shows them. */
export class Answer {
  /**
   * @param {object} data `name`, `columns`, `dense`
   * @param {function(object): Promise<void>} found called with {answer, nearest, binding} before it is shown
   */
  constructor(data, found) {
    Object.assign(this, { data, found });
    this.live = h("p", { class: "live", role: "status", "aria-live": "polite" });
    this.more = h("div");
    this.element = h("div", { class: "answer" }, this.live, this.more);
    this.asking = null;
  }

  /**
   * Request the answer to a view's budget, dropping an earlier request.
   * @param {object} view
   * @param {number|null} [since] time of the user's action, on the clock of events
   */
  async ask(view, since = null) {
    this.asking?.abort();
    const own = new AbortController();
    this.asking = own;
    let answer;
    try {
      answer = await get(path("searches", this.data.name, "select"), question(view), { signal: own.signal });
    } catch (error) {
      if (error.name === "AbortError" || own !== this.asking) return;
      if (!(error instanceof Problem)) throw error;
      await this.found({ answer: null, nearest: false, binding: null });
      fill(this.live, h("strong", {}, error.title), `: ${error.detail}`);
      this.live.className = "live infeasible";
      fill(this.more);
      return;
    }
    if (own !== this.asking) return;
    this.#show(answer, view);
    const candidate = answer.candidate ?? answer.nearest;
    await this.found({ answer: candidate?.id ?? null, nearest: !answer.feasible, binding: answer.binding ?? null });
    if (since === null) return;
    requestAnimationFrame(() => performance.measure("leanfront-answer", { start: since, end: performance.now() }));
  }

  #show(answer, view) {
    const { objectives } = this.data.columns;
    this.live.className = answer.feasible ? "live" : "live infeasible";
    const candidate = answer.candidate ?? answer.nearest;
    this.element.dataset.candidate = candidate?.id ?? "";
    this.element.dataset.feasible = String(answer.feasible);
    fill(this.live, answer.feasible ? sentence(candidate, objectives, this.data.dense) : this.#nearest(answer));
    fill(
      this.more,
      answer.note ? h("p", { class: "note" }, answer.note) : null,
      answer.unmeasured ? this.#unmeasured(answer.unmeasured, view) : null,
      candidate ? card(candidate, objectives, this.data.dense) : null,
    );
  }

  #nearest({ nearest, violations, binding, cheapest }) {
    if (!nearest) return "No candidate is within the budget: none has been measured yet.";
    const broken = Object.entries(violations).map(([name, by]) => {
      if (by === null) return `${label(name)} was not measured`;
      const own = measurementOf(nearest, name);
      return `${label(name)} is off by ${number(by, own?.unit ?? "")}`;
    });
    const least = cheapest?.[binding];
    const unit = measurementOf(nearest, binding)?.unit;
    const said = [
      `No candidate is within the budget. The nearest is candidate ${nearest.id}: ${broken.join(", ")}.`,
      binding ? ` The limit on ${label(binding)} is violated most.` : "",
      typeof least === "number" ? ` The lowest value in the search space is ${number(least, unit)}.` : "",
    ];
    return said.join("");
  }

  #unmeasured({ metrics, candidates }, view) {
    const place = h("p", { role: "status" });
    const names = metrics.map(label).join(", ");
    const order = button("Have a worker measure it", () => behind(order, () => this.#measure(view, place)));
    return h(
      "div",
      { class: "empty" },
      h("p", {}, `${names} is not measured on ${candidates.length} candidates that may be a better answer.`),
      order,
      place,
    );
  }

  async #measure(view, place) {
    const body = { maximum: {}, minimum: {}, strategy: view.strategy, stage: view.stage };
    for (const { side, name, text, amount } of limits(view)) body[side][name] = amount ?? text;
    let job = await post(path("searches", this.data.name, "measure"), body);
    while (!ENDED.includes(job.state)) {
      fill(place, `${job.state === "queued" ? "Waiting for a worker" : "A worker measures"} (job ${job.id})…`);
      await new Promise((resolve) => setTimeout(resolve, PERIOD));
      if (!place.isConnected) return;
      job = await get(path("jobs", job.id));
    }
    fill(place, job.message ?? job.state);
    if (job.state === "done") await this.ask(view);
  }
}

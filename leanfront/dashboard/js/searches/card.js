/** A search in the list: target, progress, quality and actions. */

import { find, path, post, remove } from "../api.js";
import { add, fill, h } from "../dom.js";
import { moment, significant } from "../format.js";
import { whenSeen } from "../lazy.js";
import { link } from "../shell.js";
import { behind, button, confirm, say } from "../ui.js";
import { spark } from "./spark.js";

/** Points of a line above which it is requested again, since the server spreads fewer over the trials. */
const MOST_POINTS = 120;
const UNDER_WAY = ["queued", "running"];
/** State -> possible actions. */
const ACTIONS = {
  queued: ["cancel"],
  running: ["cancel"],
  failed: ["resume", "delete"],
  cancelled: ["resume", "delete"],
  done: ["delete"],
};

export class Card {
  /**
   * @param {object} row row of GET /searches
   * @param {{put: function(object): void, leave: function(string): void}} list called after actions
   */
  constructor(row, list) {
    this.list = list;
    this.name = row.name;
    this.title = h("a", { href: link("searches", row.name) }, row.name);
    this.badge = h("span", { class: "state" });
    this.trials = h("span", {});
    this.bar = h("progress", { hidden: true, "aria-label": "trials" });
    this.line = h("div", { class: "line" });
    this.worth = h("div", {});
    this.message = h("p", { class: "message" });
    this.actions = h("div", { class: "actions" });
    const about = [row.target, row.created && moment(row.created)].filter(Boolean).join(" · ");
    this.element = h(
      "li",
      { class: "search" },
      h("div", { class: "who" }, h("h2", {}, this.title), h("div", { class: "note" }, about)),
      h("div", { class: "how" }, this.badge, " ", this.trials, this.bar),
      h("div", { class: "worth" }, this.line, this.worth),
      this.actions,
      this.message,
    );
    this.update(row);
    this.#measure();
  }

  /** Show the current state of the search. */
  update(row) {
    const before = this.row ?? {};
    this.row = row;
    if (row.state !== before.state) this.#enter(row.state, before.state);
    fill(this.worth, row.frontier_size ? worth(row) : h("span", { class: "note" }, "no frontier yet"));
    // Some messages repeat what is already shown.
    const message = [counted(row.trials), row.state].includes(row.message) ? null : row.message;
    fill(this.message, message);
    this.message.hidden = !message;
    this.message.classList.toggle("wrong", row.state === "failed");
    this.#progress();
    if (this.points && row.trials > (this.points.at(-1)?.trials ?? 0)) this.#grow(row);
  }

  #enter(state, before) {
    this.#badge(state);
    const focused = this.actions.contains(document.activeElement);
    fill(this.actions, (ACTIONS[state] ?? []).map((name) => this.#action(name)));
    if (focused) this.#refocus();
    if (before === undefined) return;
    if (!UNDER_WAY.includes(state)) say(`${this.name}: ${state}`);
    this.#measure();
  }

  #badge(state) {
    this.badge.className = `state ${state}`;
    fill(this.badge, state);
  }

  #progress() {
    const { trials, state } = this.row;
    const goal = UNDER_WAY.includes(state) ? this.goal : undefined;
    fill(this.trials, goal ? `${trials} of ${goal} trials` : counted(trials));
    this.bar.hidden = !goal;
    if (goal) Object.assign(this.bar, { max: goal, value: Math.min(trials, goal) });
  }

  /** Extend the line by a new trial without a request. */
  #grow({ trials, hypervolume }) {
    this.points.push({ trials, hypervolume });
    if (this.points.length > MOST_POINTS) this.#measure();
    else fill(this.line, spark(this.points));
  }

  /** Once visible, request what the list does not include. */
  #measure() {
    whenSeen(this.element, async () => {
      try {
        if (UNDER_WAY.includes(this.row.state)) await this.#status();
        const grown = await find(`${path("searches", this.name)}/progress`);
        if (grown === null) return;
        this.points = grown.trials.map((trials, place) => ({ trials, hypervolume: grown.hypervolume[place] }));
        fill(this.line, spark(this.points));
      } catch {
        // The list works without it, and asks again when the state changes.
        fill(this.line, h("span", { class: "note" }, "its growth could not be read"));
      }
    });
  }

  async #status() {
    const found = await find(path("searches", this.name));
    if (found === null) return;
    this.goal = found.goal;
    this.#progress();
    if (found.job.state === "cancelling" && UNDER_WAY.includes(this.row.state)) this.#stopping();
  }

  /** Show that the search was asked to stop, before its worker reacts. */
  #stopping() {
    this.#badge("cancelling");
    for (const each of this.actions.querySelectorAll("button")) each.disabled = true;
  }

  #action(name) {
    const text = name[0].toUpperCase() + name.slice(1);
    const made = button(text, () => behind(made, () => this[name]()).then(() => this.#refocus()), {
      class: name === "delete" ? "danger" : null,
      // In a list of many, each button names its search.
      "aria-label": `${text} ${this.name}`,
    });
    return made;
  }

  /** If the focused button is gone, focus the next one, unless something else has the focus. */
  #refocus() {
    if (document.activeElement === document.body) (this.actions.querySelector("button:enabled") ?? this.title).focus();
  }

  /** Ask the search to stop. */
  async cancel() {
    const job = await post(`${path("searches", this.name)}/cancel`);
    say(`${this.name}: ${job.state}`);
    // The button is enabled again afterwards.
    if (job.state === "cancelling") setTimeout(() => this.row.state === "running" && this.#stopping());
    else await this.#look();
  }

  /** Queue the search again. */
  async resume() {
    await post(`${path("searches", this.name)}/resume`);
    await this.#look();
    say(`${this.name}: queued again`);
  }

  /** Delete the search after confirmation. */
  async delete() {
    const what = `Its ${counted(this.row.trials)}, candidates, audits and files are deleted too`;
    if (!(await confirm(`Delete ${this.name}?`, `${what}. This cannot be undone.`, "Delete"))) return;
    await remove(path("searches", this.name));
    say(`${this.name}: deleted`);
    this.list.leave(this.name);
  }

  /** Refresh the row: events may be late, and old searches have none. */
  async #look() {
    const found = await find(path("searches", this.name));
    if (found !== null) this.list.put(found);
  }
}

function counted(trials) {
  return `${trials} ${trials === 1 ? "trial" : "trials"}`;
}

function worth({ hypervolume, frontier_size: size }) {
  return add(
    h("span", {}),
    h("span", { class: "number" }, significant(hypervolume)),
    h("span", { class: "note" }, ` hypervolume · ${size} on the frontier`),
  );
}

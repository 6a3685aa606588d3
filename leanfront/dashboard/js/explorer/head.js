/** The head of a search's page: target, progress and actions. */

import { find, path, post } from "../api.js";
import { add, fill, h } from "../dom.js";
import { interval, label, moment, significant } from "../format.js";
import { ENDED } from "../jobs.js";
import { link } from "../shell.js";
import { behind, button, confirm, facts, say, table } from "../ui.js";

const FIRST = ["accuracy", "memory_bytes", "macs"];

/** Whether a search has ended. */
export function ended({ state }) {
  return ENDED.includes(state);
}

/** The head of the page; `acted` is called with the state after an action. */
export class Head {
  constructor(search, acted) {
    this.acted = acted;
    this.name = search.name;
    this.state = h("div", { class: "row", role: "status" });
    this.numbers = h("div");
    this.actions = h("div", { class: "actions" });
    const heading = h("h1", {}, search.name);
    this.element = h("div", { class: "head" }, heading, this.state, this.numbers, this.actions, this.#coverage());
    this.show(search);
  }

  /** Show the record of a search. */
  show(search) {
    const done = ended(search);
    const bar = h("progress", { value: search.trials, max: search.goal, "aria-label": "Trials" });
    const said = `${search.trials} of ${search.goal} trials`;
    fill(
      this.state,
      h("span", { class: `state ${search.state}` }, search.state),
      done ? `${search.trials} trials` : [bar, said],
    );
    const first = search.dense.filter(({ name, split }) => split !== "test" && FIRST.includes(name));
    fill(
      this.numbers,
      search.state === "failed"
        ? failed(search.message)
        : search.message
          ? h("p", { class: "note message" }, search.message)
          : null,
      facts([
        ["target", search.registered ?? search.target],
        ["objectives", search.objectives.join(", ")],
        ["frontier", `${search.frontier_size} candidates`],
        ["hypervolume", significant(search.hypervolume, 4)],
        ["on log₂ axes", significant(search.hypervolume_log2, 4)],
        ...first.map((each) => [`dense ${label(each.name)}`, interval(each)]),
        ["queued", moment(search.created)],
      ]),
    );
    fill(
      this.actions,
      h("a", { class: "button", href: link("searches", search.name, "audits") }, "Audits"),
      h("a", { class: "button", href: link("searches", search.name, "geometry") }, "Geometry"),
      done ? null : this.#cancel(search),
      search.state === "failed" || search.state === "cancelled" ? this.#resume() : null,
    );
  }

  #cancel({ job }) {
    const asked = job.state === "cancelling";
    const made = button(asked ? "Stopping…" : "Cancel", async () => {
      const sure = await confirm("Cancel the search?", "Its trials are kept; it can be resumed.", "Cancel the search");
      if (!sure) return;
      await behind(made, async () => {
        await post(path("searches", this.name, "cancel"));
        say("The search was asked to stop.");
        this.acted();
      });
    }, { disabled: asked });
    return made;
  }

  #resume() {
    const made = button("Resume", () =>
      behind(made, async () => {
        await post(path("searches", this.name, "resume"));
        say("The search is queued again.");
        this.acted();
      }),
    );
    return made;
  }

  #coverage() {
    const content = h("div");
    const made = h("details", {}, h("summary", {}, "Which parts of the model can be compressed"), content);
    made.addEventListener("toggle", async () => {
      if (!made.open || content.hasChildNodes()) return;
      fill(content, "Loading…");
      const found = await find(path("searches", this.name, "coverage")).catch((error) => ({ error }));
      if (found === null) fill(content, "Not known yet: no worker has loaded the target.");
      else fill(content, found.error?.message ?? coverage(found));
    });
    return made;
  }
}

function failed(message) {
  const text = h("p", {}, h("strong", {}, "The search failed"), message ? `: ${message}` : ".");
  return h("div", { class: "failure", role: "alert" }, text);
}

function coverage(found) {
  const share = (value) => (typeof value === "number" ? `${(100 * value).toFixed(1)} %` : "–");
  const both = (bytes, macs) => `${share(bytes)} of the bytes, ${share(macs)} of the MACs`;
  const cell = (value) => (Array.isArray(value) ? value.join(", ") : String(value));
  const exclusions = found.exclusions.map((each) => Object.values(each).map(cell));
  return add(
    h("div"),
    facts([
      ["parameters", String(found.parameters)],
      ["can be quantised", both(found.quantisable_bytes, found.quantisable_macs)],
      ["can be pruned", both(found.prunable_bytes, found.prunable_macs)],
      ["channel groups", String(found.groups.length)],
      ["layers", String(found.layers.length)],
    ]),
    exclusions.length
      ? table({ caption: "Left alone", header: Object.keys(found.exclusions[0]), rows: exclusions })
      : h("p", {}, "All parts can be compressed."),
  );
}

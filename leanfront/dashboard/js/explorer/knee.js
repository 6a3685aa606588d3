/** A button that marks the knee in the chart. */

import { get, path } from "../api.js";
import { behind, button, say } from "../ui.js";
import { budget } from "./view.js";

/** Marks the knee within a view's limits; `found` is called with its candidate's id, or null. */
export class Knee {
  /**
   * @param {string} name name of the search
   * @param {function(): object} view
   * @param {function(number|null): void} found
   */
  constructor(name, view, found) {
    Object.assign(this, { name, view, found });
    this.element = button("Knee", () => behind(this.element, () => this.#toggle()));
    this.element.title = "Beyond it, more cost gains little";
    this.#press();
  }

  /** Mark it if the view says so. */
  async show() {
    this.#press();
    if (!this.view().knee) return this.found(null);
    const view = this.view();
    const { candidate, note } = await get(path("searches", this.name, "knee"), { ...budget(view), stage: view.stage });
    if (candidate) say(`The knee is candidate ${candidate.id}.${note ? ` ${note}` : ""}`);
    else say("No candidate is within the budget: there is no knee.");
    return this.found(candidate?.id ?? null);
  }

  async #toggle() {
    this.view().knee = !this.view().knee;
    await this.show();
  }

  #press() {
    this.element.setAttribute("aria-pressed", String(this.view().knee));
  }
}

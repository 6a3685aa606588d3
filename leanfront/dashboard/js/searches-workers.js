/** Whether anybody works: searches that are queued wait until a worker takes them. */

import { get, Problem } from "./api.js";
import { fill, h } from "./dom.js";

const PERIOD = 4000;

export class Workers {
  /** @param {function(): boolean} asked whether it matters now that a worker runs */
  constructor(asked) {
    this.asked = asked;
    this.element = h("div", { role: "status" });
  }

  /** Look now, and again for as long as it matters. */
  async look() {
    clearTimeout(this.timer);
    this.timer = null;
    this.#tell(this.asked() && !(await this.#there()));
    if (this.asked()) this.timer ??= setTimeout(() => this.look(), PERIOD);
  }

  async #there() {
    try {
      const { workers } = await get("health");
      // Without a key nothing is told of them.
      return !workers || workers.some(({ kinds }) => kinds.includes("search"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return true;
    }
  }

  #tell(missing) {
    if (missing === this.element.hasChildNodes()) return;
    fill(
      this.element,
      missing &&
        h(
          "p",
          { class: "empty" },
          "No worker runs: queued searches wait. Start one on this database, with the server's --target options: ",
          h("code", {}, "leanfront worker"),
        ),
    );
  }
}

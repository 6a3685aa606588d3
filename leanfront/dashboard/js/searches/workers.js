/** Whether anybody works: searches that are queued wait until a worker takes them. */

import { fill, h } from "../dom.js";
import { worked } from "../jobs.js";

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
    this.#tell(this.asked() && !(await worked("search")));
    if (this.asked()) this.timer ??= setTimeout(() => this.look(), PERIOD);
  }

  #tell(missing) {
    if (missing === this.element.hasChildNodes()) return;
    fill(
      this.element,
      missing &&
        h(
          "p",
          { class: "empty" },
          "No worker is running: queued searches wait. Start one on this database, with the server's --target options: ",
          h("code", {}, "leanfront worker"),
        ),
    );
  }
}

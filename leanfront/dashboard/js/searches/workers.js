/** Warning if no worker runs, since queued searches wait for one. */

import { fill, h } from "../dom.js";
import { worked } from "../jobs.js";

const PERIOD = 4000;

export class Workers {
  /** @param {function(): boolean} asked whether a missing worker matters now */
  constructor(asked) {
    this.asked = asked;
    this.element = h("div", { role: "status" });
  }

  /** Check now, and again while it matters. */
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
          "No worker is running: queued searches wait. Start one on this database with the server's --target options: ",
          h("code", {}, "leanfront worker"),
        ),
    );
  }
}

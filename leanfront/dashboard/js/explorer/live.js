/** Updates of a running search, at most once per second. */

import { path } from "../api.js";
import { follow } from "../events.js";
import { ended } from "./head.js";

const PERIOD = 1000;

/** Follows the events of a search. */
export class Live {
  /**
   * @param {string} name
   * @param {function(): Promise<void>} refresh shows new data
   */
  constructor(name, refresh) {
    Object.assign(this, { name, refresh, follows: false, waits: false, last: -Infinity });
  }

  /** Follow a search until it ends; its stored data are already on the page. */
  async follow(search) {
    if (this.follows || ended(search)) return;
    this.follows = true;
    await follow(`${path("searches", this.name, "events")}?after=${search.trials}`, () => this.#soon());
    this.follows = false;
    await this.refresh();
  }

  #soon() {
    if (this.waits) return;
    this.waits = true;
    setTimeout(async () => {
      await this.refresh();
      this.last = performance.now();
      this.waits = false;
    }, Math.max(0, this.last + PERIOD - performance.now()));
  }
}

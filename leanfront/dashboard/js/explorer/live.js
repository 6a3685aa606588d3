/** A search that goes on: what is new is asked for, once a second at most. */

import { path } from "../api.js";
import { follow } from "../events.js";
import { ended } from "./head.js";

const PERIOD = 1000;

/** Follows a search's events. */
export class Live {
  /**
   * @param {string} name
   * @param {function(): Promise<void>} refresh shows what is new
   */
  constructor(name, refresh) {
    Object.assign(this, { name, refresh, follows: false, waits: false, last: -Infinity });
  }

  /** Follow a search until it ends; what it has stored so far is on the page. */
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

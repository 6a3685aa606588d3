/** Audits that are queued or running: they are followed until they end, over a reload of the page, too. */

import { get, path, post, Problem } from "./api.js";
import { ENDED, worked } from "./jobs.js";

const PERIOD = 2000;

/** The audits under way of a search or a candidate. */
export class Jobs {
  /**
   * @param {string} where the audits' address below /api/v1
   * @param {function(): void} changed called when one is queued, goes on or ends
   * @param {function(string, string): void} ended called with the kind and the state of one that has ended
   */
  constructor(where, changed, ended) {
    Object.assign(this, { where, changed, ended });
    /** Kind -> {id, state, message}; those that failed stay until they are queued again. */
    this.known = new Map();
    /** Whether a worker runs that takes audits; null where it is not known. */
    this.worked = null;
    this.stored = `leanfront-jobs:${where}`;
    for (const [kind, id] of this.#kept()) this.known.set(kind, { id, state: "queued", message: null });
    if (this.known.size) this.#follow();
  }

  /** Whether audits are under way. */
  get busy() {
    return this.#open().length > 0;
  }

  /**
   * Queue an audit for each of some kinds: one that fails stops no other.
   * @throws {Problem} the server refuses one
   */
  async queue(kinds, options) {
    try {
      for (const kind of kinds) {
        const { id, state, message } = await post(this.where, { ...options, kinds: [kind] });
        this.known.set(kind, { id, state, message });
      }
    } finally {
      this.#keep();
      this.changed();
      this.#follow();
    }
  }

  #open() {
    return [...this.known].filter(([, job]) => !ENDED.includes(job.state));
  }

  async #follow() {
    if (this.following) return;
    this.following = true;
    while (this.busy) {
      const before = JSON.stringify([...this.known, this.worked]);
      await this.#look();
      if (JSON.stringify([...this.known, this.worked]) !== before) this.changed();
      if (this.busy) await new Promise((resolve) => setTimeout(resolve, PERIOD));
    }
    this.following = false;
  }

  async #look() {
    try {
      for (const [kind, job] of this.#open()) await this.#ask(kind, job);
      const waits = this.#open().some(([, job]) => job.state === "queued");
      this.worked = waits ? await worked("audit") : null;
    } catch (error) {
      // The server may be away for a while: what is queued there stays.
      if (!(error instanceof Problem)) throw error;
    }
  }

  async #ask(kind, job) {
    try {
      const { state, message } = await get(path("jobs", job.id));
      Object.assign(job, { state, message });
    } catch (error) {
      if (error.status !== 404) throw error;
      Object.assign(job, { state: "cancelled", message: "its job was deleted" });
    }
    if (!ENDED.includes(job.state)) return;
    if (job.state === "done") this.known.delete(kind);
    this.#keep();
    this.ended(kind, job.state);
  }

  #kept() {
    try {
      return JSON.parse(sessionStorage.getItem(this.stored) ?? "[]");
    } catch {
      return [];
    }
  }

  #keep() {
    const open = this.#open().map(([kind, job]) => [kind, job.id]);
    if (open.length) sessionStorage.setItem(this.stored, JSON.stringify(open));
    else sessionStorage.removeItem(this.stored);
  }
}

/** Queued and running audits, followed until they end, also across a reload of the page. */

import { get, path, post, Problem } from "./api.js";
import { ENDED, worked } from "./jobs.js";

const PERIOD = 2000;

/** The unfinished audits of a search or candidate. */
export class Jobs {
  /**
   * @param {string} where address of the audits below /api/v1
   * @param {function(): void} changed called when an audit is queued, progresses or ends
   * @param {function(string, string): void} ended called with the kind and state of an ended audit
   */
  constructor(where, changed, ended) {
    Object.assign(this, { where, changed, ended });
    /** Kind -> {id, state, message}; failed ones stay until they are queued again. */
    this.known = new Map();
    /** Whether a worker takes audits; null if unknown. */
    this.worked = null;
    this.stored = `leanfront-jobs:${where}`;
    for (const [kind, id] of this.#kept()) this.known.set(kind, { id, state: "queued", message: null });
    if (this.known.size) this.#follow();
  }

  /** Whether audits are unfinished. */
  get busy() {
    return this.#open().length > 0;
  }

  /**
   * Queue one audit per kind, so that a failure affects no other kind.
   * @throws {Problem} if the server refuses one
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
      // The server may be away for a while; queued jobs are kept.
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

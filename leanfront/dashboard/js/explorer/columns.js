/** All candidates of a search, as columns. */

import { pages, path } from "../api.js";

const PAGE = 5000;
const LISTS = ["ids", "trials", "states", "on_frontier", "parents"];

/** Candidates in order of id; every list has one entry per candidate. */
export class Columns {
  constructor(name) {
    this.name = name;
    this.#clear();
    /** Measurements of the objectives, in order. */
    this.objectives = [];
  }

  #clear() {
    for (const list of LISTS) this[list] = [];
    /** Requested column -> {name, split, unit, value, low, high}. */
    this.columns = new Map();
    this.places = new Map();
    /** Ids of the frontier before recovery; null if not requested yet. */
    this.early = null;
  }

  get size() {
    return this.ids.length;
  }

  /** Whether some candidates are recovered. */
  get recovered() {
    return this.parents.some((parent) => parent !== null);
  }

  /**
   * Read the objectives' columns.
   * @param {function(boolean): void} arrived called after each page with whether it was the last
   */
  async load(arrived) {
    for await (const page of pages(this.#address(), { limit: PAGE })) {
      this.objectives = Object.keys(page.columns);
      this.#take(page);
      arrived(!page.next);
    }
  }

  /** Read all held columns again, after the search has progressed. */
  async refresh() {
    const fresh = new Columns(this.name);
    const asked = [...this.columns.keys()].join(",");
    for await (const page of pages(this.#address(), { limit: PAGE, columns: asked })) fresh.#take(page);
    const early = this.early;
    for (const each of [...LISTS, "columns", "places"]) this[each] = fresh[each];
    if (early) await this.needEarly(true);
  }

  /**
   * Read columns that are not held yet.
   * @returns {Promise<Array<string>>} the columns that do not exist
   */
  async need(keys) {
    const missing = [...new Set(keys)].filter((key) => key && !this.columns.has(key));
    const unknown = [];
    for (const key of missing) {
      try {
        await this.#add(key);
      } catch (error) {
        if (error.status !== 422) throw error;
        unknown.push(key);
      }
    }
    return unknown;
  }

  async #add(key) {
    let column = null;
    for await (const page of pages(this.#address(), { limit: PAGE, columns: key })) {
      const own = page.columns[key];
      const none = () => this.ids.map(() => null);
      column ??= { ...own, value: none(), low: none(), high: none() };
      page.ids.forEach((id, from) => {
        const to = this.places.get(id);
        if (to === undefined) return;
        for (const each of ["value", "low", "high"]) column[each][to] = own[each][from];
      });
    }
    this.columns.set(key, column);
  }

  /** Read which candidates were on the frontier before recovery. */
  async needEarly(again = false) {
    if (this.early && !again) return;
    const found = new Set();
    const where = path("searches", this.name, "frontier");
    for await (const page of pages(where, { stage: "before", limit: 1000 })) {
      for (const { id } of page.candidates) found.add(id);
    }
    this.early = found;
  }

  /** Whether the candidate at an index is on the frontier of a stage. */
  isMember(place, stage) {
    return stage === "before" && this.early ? this.early.has(this.ids[place]) : this.on_frontier[place];
  }

  /** Whether the candidate at an index belongs to a stage. */
  isOf(place, stage) {
    return stage === "after" || this.parents[place] === null;
  }

  value(place, key) {
    return this.columns.get(key)?.value[place] ?? null;
  }

  /** The measurements of a candidate, in the form of the API. */
  measurement(place, key) {
    const column = this.columns.get(key);
    if (!column || column.value[place] === null) return null;
    const { name, split, unit } = column;
    return { name, split, unit, value: column.value[place], low: column.low[place], high: column.high[place] };
  }

  /** Whether a candidate is within limits, as far as columns are held; a missing value is not. */
  keeps(place, limits) {
    return limits.every(({ side, name, amount }) => {
      if (amount === null || !this.columns.has(name)) return true;
      const value = this.value(place, name);
      return value !== null && (side === "maximum" ? value <= amount : value >= amount);
    });
  }

  /** Indices of frontier members within limits, the largest value of the first objective first. */
  members(stage, limits) {
    const found = [];
    for (let place = 0; place < this.size; place += 1) {
      if (this.isMember(place, stage) && this.keeps(place, limits)) found.push(place);
    }
    const [first] = this.objectives;
    return found.sort((a, b) => this.value(b, first) - this.value(a, first) || this.ids[a] - this.ids[b]);
  }

  #take(page) {
    page.ids.forEach((id, place) => this.places.set(id, this.size + place));
    for (const list of LISTS) this[list] = this[list].concat(page[list]);
    for (const [key, own] of Object.entries(page.columns)) {
      const held = this.columns.get(key) ?? { ...own, value: [], low: [], high: [] };
      for (const each of ["value", "low", "high"]) held[each] = held[each].concat(own[each]);
      this.columns.set(key, held);
    }
  }

  #address() {
    return path("searches", this.name, "candidates");
  }
}

/** The list of searches: all are known, matching ones are shown in portions. */

import { ask } from "../api.js";
import { fill, h } from "../dom.js";
import { STATES } from "../jobs.js";
import { onReturn, read, write } from "../state.js";
import { button, field, select } from "../ui.js";
import { Card } from "./card.js";

const AT_ONCE = 50;
/** Searches per request. */
const PAGE = 1000;
/** Order -> label and comparison of two rows. */
const ORDERS = {
  newest: ["newest first", (a, b) => text(b.created, a.created)],
  oldest: ["oldest first", (a, b) => text(a.created, b.created)],
  name: ["name", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  trials: ["most trials", (a, b) => b.trials - a.trials],
  frontier: ["largest frontier", (a, b) => b.frontier_size - a.frontier_size],
  hypervolume: ["largest hypervolume", (a, b) => b.hypervolume - a.hypervolume],
};

export class SearchList {
  /**
   * @param {function(): Element} empty content if there is no search at all
   * @param {function(): void} changed called when searches are added, removed or change state
   */
  constructor(empty, changed) {
    Object.assign(this, { empty, changed });
    /** Name -> row of GET /searches, oldest first. */
    this.rows = new Map();
    this.cards = new Map();
    /** Name -> event since the list was last requested; null for a deleted search. */
    this.meanwhile = new Map();
    this.most = AT_ONCE;
    this.wanted = h("input", { type: "search", autocomplete: "off", on: { input: () => this.#choose() } });
    const states = [["", "all"], ...STATES.map((each) => [each, each])];
    this.state = select(states, "", () => this.#choose());
    const orders = Object.entries(ORDERS).map(([name, [said]]) => [name, said]);
    this.order = select(orders, "newest", () => this.#choose());
    this.tools = h(
      "div",
      { class: "row", role: "search" },
      field("Name or target", this.wanted),
      field("State", this.state),
      field("Order", this.order),
    );
    this.count = h("p", { class: "note", role: "status" });
    this.place = h("ul", { class: "searches" });
    this.instead = h("div", {});
    this.more = button("", () => this.#showMore());
    this.element = h("section", { "aria-label": "List" }, this.tools, this.count, this.place, this.instead, this.more);
    onReturn(() => (this.#restore(), this.arrange()));
    this.#restore();
  }

  /** Read all searches, replacing those read before. */
  async load() {
    const found = new Map();
    this.meanwhile = new Map();
    for await (const row of searches()) found.set(row.name, row);
    // Events received while the list was loading are newer than the list.
    for (const [name, row] of this.meanwhile) {
      if (row) found.set(name, row);
      else found.delete(name);
    }
    for (const name of this.rows.keys()) if (!found.has(name)) this.#forget(name);
    this.rows = found;
    for (const [name, card] of this.cards) card.update(found.get(name));
    this.arrange();
    this.changed();
  }

  /** Whether a search is in a state. */
  has(state) {
    return [...this.rows.values()].some((row) => row.state === state);
  }

  /** Add or update a search. */
  put(row) {
    const before = this.rows.get(row.name);
    this.meanwhile.set(row.name, row);
    this.rows.set(row.name, row);
    this.cards.get(row.name)?.update(row);
    if (before?.state === row.state) return;
    // Rows keep their places while trials arrive, so that users do not lose sight of them.
    this.#soon();
    this.changed();
  }

  /** Remove a search. */
  drop(name) {
    this.meanwhile.set(name, null);
    if (!this.rows.has(name)) return;
    this.#forget(name);
    this.rows.delete(name);
    this.#soon();
    this.changed();
  }

  /** Show a search whatever the filter, and scroll to it. */
  reveal(name) {
    if (!this.#matches(this.rows.get(name))) this.#clear();
    this.arrange();
    this.cards.get(name)?.title.focus();
  }

  /** Put the matching cards in order without touching those already in place. */
  arrange() {
    clearTimeout(this.timer);
    this.timer = null;
    const [, order] = ORDERS[this.order.value];
    const matching = [...this.rows.values()].filter((row) => this.#matches(row)).sort(order);
    const shown = matching.slice(0, this.most).map((row) => this.#card(row).element);
    const kept = new Set(shown);
    for (const each of [...this.place.children]) if (!kept.has(each)) each.remove();
    shown.forEach((each, place) => {
      if (this.place.children[place] !== each) this.place.insertBefore(each, this.place.children[place] ?? null);
    });
    this.#tell(matching.length);
  }

  #tell(matching) {
    const all = this.rows.size;
    const words = all === 1 ? "search" : "searches";
    this.tools.hidden = all === 0;
    this.count.hidden = all === 0;
    this.place.hidden = matching === 0;
    const told = matching === all ? `${all} ${words}` : `${matching} of ${all} ${words}`;
    if (this.count.textContent !== told) fill(this.count, told);
    if (all === 0) fill(this.instead, this.empty());
    else fill(this.instead, matching ? null : this.#nothing());
    this.more.hidden = matching <= this.most;
    fill(this.more, `Show ${Math.min(AT_ONCE, matching - this.most)} more`);
  }

  #nothing() {
    const all = button("Show all", () => (this.#clear(), this.wanted.focus()));
    return h("div", { class: "empty" }, h("p", {}, "No search matches."), all);
  }

  #matches(row) {
    const wanted = this.wanted.value.trim().toLowerCase();
    return (
      (!this.state.value || row.state === this.state.value) &&
      (!wanted || row.name.toLowerCase().includes(wanted) || row.target.toLowerCase().includes(wanted))
    );
  }

  #card(row) {
    if (!this.cards.has(row.name)) this.cards.set(row.name, new Card(row, this));
    return this.cards.get(row.name);
  }

  /** After a deletion by the user, focus the next card. */
  leave(name) {
    const element = this.cards.get(name)?.element;
    const next = element?.nextElementSibling ?? element?.previousElementSibling;
    this.drop(name);
    this.arrange();
    (next?.querySelector("a") ?? document.getElementById("main")).focus();
  }

  #forget(name) {
    this.cards.get(name)?.element.remove();
    this.cards.delete(name);
  }

  #showMore() {
    const first = this.place.children.length;
    this.most += AT_ONCE;
    this.arrange();
    this.place.children[first]?.querySelector("a").focus();
  }

  #choose() {
    this.most = AT_ONCE;
    const order = this.order.value === "newest" ? null : this.order.value;
    write({ q: this.wanted.value.trim(), state: this.state.value, order });
    this.arrange();
  }

  #clear() {
    this.wanted.value = "";
    this.state.value = "";
    this.#choose();
  }

  #restore() {
    this.wanted.value = read("q", "");
    this.state.value = STATES.includes(read("state")) ? read("state") : "";
    this.order.value = read("order") in ORDERS ? read("order") : "newest";
  }

  /** Many events arrive at once when a stream begins. */
  #soon() {
    this.timer ??= setTimeout(() => this.arrange(), 50);
  }
}

async function* searches() {
  let cursor;
  do {
    const answer = await ask("searches", { parameters: { limit: PAGE, cursor } });
    yield* await answer.json();
    const next = /[?&]cursor=([^>&]+)>; rel="next"/.exec(answer.headers.get("Link") ?? "");
    cursor = next && decodeURIComponent(next[1]);
  } while (cursor);
}

function text(a, b) {
  return a < b ? -1 : Number(a > b);
}

/** The frontier of a search: look, slide the budget, take the file. */

import { find, get, path } from "./api.js";
import { fill, h } from "./dom.js";
import { follow } from "./events.js";
import { Answer } from "./explorer-answer.js";
import { Axes } from "./explorer-axes.js";
import { Budget } from "./explorer-budget.js";
import { card } from "./explorer-card.js";
import { Chart, prepared } from "./explorer-chart.js";
import { Columns, measured } from "./explorer-columns.js";
import { downloads } from "./explorer-downloads.js";
import { ended, Head } from "./explorer-head.js";
import { Parallel } from "./explorer-parallel.js";
import { Members } from "./explorer-table.js";
import { AXES, budget, kept, limits, restored } from "./explorer-view.js";
import { start, trail } from "./shell.js";
import { onReturn, place } from "./state.js";
import { behind, button, empty, failure, loading, panel, say } from "./ui.js";

/** Milliseconds between two drawings of a search that goes on, and after which tables follow a slider. */
const PERIOD = 1000;
const LATER = 200;

class Explorer {
  constructor(main, name) {
    Object.assign(this, { main, name, view: restored() });
    this.columns = new Columns(name);
    this.data = { name, columns: this.columns, dense: [], bounds: new Map(), coverage: null, names: [], costs: [], strategies: [this.view.strategy], objectives: [] };
    this.shown = false;
  }

  async open() {
    const code = prepared();
    code.catch(() => {});
    const first = this.#load(code);
    first.catch(() => {});
    this.search = await get(path("searches", this.name));
    this.#lay();
    await first;
    await this.#enrich();
    this.#listen();
    onReturn(() => this.#returned());
  }

  /** The parts of the page that are there before the candidates are. */
  #lay() {
    const { data, view, search } = this;
    Object.assign(data, { dense: search.dense, objectives: search.objectives });
    this.head = new Head(search, () => this.#acted());
    this.chart = new Chart(data, (id) => this.#pick(id));
    this.axes = new Axes(data, () => this.#redraw(true));
    this.budget = new Budget(data, view, (...change) => this.#limited(...change));
    this.answer = new Answer(data, (over) => this.#answered(over));
    this.members = new Members(this.columns, (id) => this.#pick(id));
    this.parallel = new Parallel(data, () => kept(this.view, { push: true }));
    this.picked = h("div", { class: "picked" });
    this.waiting = h("div", {}, loading("Loading the candidates"));
    this.problem = h("div");
    const knee = button("Knee", () => behind(knee, () => this.#knee(!this.view.knee)), { "aria-pressed": String(view.knee), title: "Beyond it, more cost buys little" });
    const copy = button("Copy link", () => behind(copy, () => this.#copy()));
    this.kneeButton = knee;
    const drawing = panel("Frontier", { class: "drawing" }, this.axes.element, this.problem, this.waiting, this.chart.place, h("div", { class: "actions" }, knee, copy));
    this.content = h("div", { class: "explorer" },
      drawing,
      h("div", { class: "side" },
        panel("Budget", {}, this.budget.element),
        panel("Answer", {}, this.answer.element),
        panel("Picked candidate", {}, this.picked)),
    );
    const open = h("details", { open: view.parallel }, h("summary", {}, "Show"), this.parallel.element);
    open.addEventListener("toggle", () => {
      if (open.open === this.view.parallel && !open.open) return;
      this.view.parallel = open.open;
      kept(this.view);
      if (open.open && this.shown) this.parallel.show(this.view);
    });
    this.parallelPanel = open;
    this.rest = h("div", { hidden: true },
      panel("Frontier within the limits", {}, this.members.element),
      panel("Configurations in parallel coordinates", {}, open),
      panel("Downloads", {}, downloads(data, () => this.view, () => this.chart.save(this.name.replace(/[^\w.-]+/g, "-")))),
    );
    document.title = `${this.name} · leanfront`;
    fill(this.main, trail(["Searches", "/"], [this.name]), this.head.element, this.content, this.rest);
    this.#showPicked();
  }

  /** Read the candidates; the chart is drawn as soon as there is something to draw. */
  async #load(code) {
    let ready = false;
    code.then(() => (ready = true), () => {});
    let drawing = null;
    await this.columns.load((last) => {
      if (last || !ready || drawing || !this.chart || !this.columns.size) return;
      drawing = this.#first().catch(() => {});
    });
    await code;
    // The search's record lays the page out.
    while (!this.chart) await new Promise((resolve) => setTimeout(resolve, 5));
    await drawing;
    if (!this.columns.size) return this.#nothing();
    await this.#first();
    performance.mark("leanfront-drawn");
    return null;
  }

  #nothing() {
    const waits = !ended(this.search);
    this.content.classList.add("waits");
    fill(this.waiting, empty(waits
      ? "There is no candidate yet. They appear here as the search finds them; it needs a worker: leanfront worker."
      : "The search ended without a candidate."));
    this.chart.place.hidden = true;
    this.axes.element.hidden = true;
  }

  async #first() {
    const { view, columns } = this;
    await this.#usual();
    this.content.classList.remove("waits");
    this.chart.place.hidden = false;
    this.axes.element.hidden = false;
    fill(this.waiting);
    this.data.costs = columns.objectives.filter((key) => !columns.columns.get(key).split);
    this.data.names = [...new Set([...columns.columns.keys(), ...this.data.names])];
    this.axes.show(view);
    this.chart.over.limits = limits(view);
    this.chart.over.picked = view.candidate;
    await this.chart.draw(view);
    if (!this.shown) {
      this.shown = true;
      this.rest.hidden = false;
      this.budget.show(view);
      this.answer.ask(view);
    }
  }

  /** Axes that the address does not tell, or that there are not. */
  async #usual() {
    const { view, columns } = this;
    const unknown = await columns.need([view.x, view.y, ...(view.solid ? [view.z] : [])]);
    if (unknown.length) fill(this.problem, h("p", { class: "warn", role: "alert" }, `Nothing is measured under the name ${unknown.join(", ")}.`));
    const quality = columns.objectives.find((key) => columns.columns.get(key).split);
    const rest = columns.objectives.filter((key) => key !== quality);
    const usual = quality ? { x: rest[0], y: quality, z: rest[1] ?? rest[0] } : { x: rest[0], y: rest[1], z: rest[2] ?? rest[1] };
    for (const axis of AXES) if (!view[axis] || unknown.includes(view[axis])) view[axis] = usual[axis];
    if (view.stage === "before") await columns.needEarly();
    await columns.need(limits(view).map(({ name }) => name));
  }

  /** What is shown behind the first chart. */
  async #enrich() {
    const [names, strategies, bounds] = await Promise.all([
      measured(this.name, this.search.dense).catch(() => []),
      known().catch(() => []),
      find(path("searches", this.name, "audits", "bounds")).catch(() => null),
    ]);
    const { data } = this;
    data.names = [...new Set([...data.names, ...names])];
    const test = new Set(this.search.dense.filter(({ split }) => split).map(({ name }) => name));
    const costs = new Set(this.search.dense.filter(({ split }) => !split).map(({ name }) => name));
    data.costs = [...new Set([...data.costs, ...[...costs].filter((name) => !test.has(name))])];
    data.strategies = [...new Set([...strategies, ...data.strategies])];
    for (const { candidate, bound_bytes: bytes } of bounds?.document?.versions ?? []) {
      if (candidate !== null) data.bounds.set(candidate, bytes);
    }
    if (!this.shown) return;
    await this.columns.need(this.view.sliders?.filter((name) => data.costs.includes(name)) ?? []);
    this.axes.show(this.view);
    this.budget.show(this.view);
    this.budget.bind(this.chart.over.binding);
    if (data.bounds.size) await this.chart.draw(this.view);
    this.members.show(this.view);
    if (this.view.knee) await this.#knee(true);
    if (this.view.parallel) await this.parallel.show(this.view);
  }

  /** A limit, the strategy or the stage has changed. */
  async #limited(event, push, settled, whole = false) {
    const { view } = this;
    if (settled) kept(view, { push });
    if (event || settled) {
      const since = event?.timeStamp ?? performance.now();
      this.chart.over.limits = limits(view);
      if (!settled || event || whole || this.asked !== JSON.stringify(budget(view)) + view.strategy + view.order + JSON.stringify(view.weights)) {
        this.asked = JSON.stringify(budget(view)) + view.strategy + view.order + JSON.stringify(view.weights);
        this.answer.ask(view, since);
      }
      this.chart.mark({ limits: limits(view) });
    }
    if (whole) await this.#redraw(false);
    clearTimeout(this.later);
    this.later = setTimeout(() => this.#follow(), LATER);
  }

  /** Tables follow a slider when it rests. */
  async #follow() {
    await this.columns.need(limits(this.view).map(({ name }) => name));
    this.members.show(this.view);
    if (this.view.parallel) this.parallel.show(this.view);
    if (this.view.knee) await this.#knee(true);
  }

  async #answered(over) {
    this.budget.bind(over.binding);
    await this.chart.mark(over);
  }

  /** Axes, scales, dimensions or the stage are others. */
  async #redraw(push) {
    const { view } = this;
    try {
      fill(this.problem);
      await this.#usual();
      await this.columns.need(view.sliders ?? []);
      if (push) kept(view, { push: true });
      this.axes.show(view);
      await this.chart.draw(view);
      this.budget.show(view);
      this.budget.bind(this.chart.over.binding);
      this.members.show(view);
    } catch (error) {
      fill(this.problem, failure(error));
    }
  }

  #pick(id) {
    this.view.candidate = this.view.candidate === id ? null : id;
    kept(this.view, { push: true });
    this.chart.mark({ picked: this.view.candidate });
    for (const each of this.members.element.querySelectorAll("button[data-candidate]")) {
      each.setAttribute("aria-pressed", String(Number(each.dataset.candidate) === this.view.candidate));
    }
    this.#showPicked();
  }

  async #showPicked() {
    const id = this.view.candidate;
    if (id === null) return fill(this.picked, h("p", { class: "note" }, "Click a point of the chart, or choose one in the table below."));
    try {
      const candidate = await get(path("candidates", id));
      if (id !== this.view.candidate) return null;
      if (candidate.search !== this.name) return fill(this.picked, empty(`Candidate ${id} is of another search.`));
      const away = button("Let go", () => this.#pick(id));
      fill(this.picked, card(candidate, this.columns.objectives.length ? this.columns.objectives : ["accuracy", "memory_bytes"], this.search.dense, away));
      return say(`Candidate ${id} is picked.`);
    } catch (error) {
      return fill(this.picked, failure(error));
    }
  }

  async #knee(on) {
    this.view.knee = on;
    this.kneeButton.setAttribute("aria-pressed", String(on));
    kept(this.view);
    if (!on) return this.chart.mark({ knee: null });
    const found = await get(path("searches", this.name, "knee"), { ...budget(this.view), stage: this.view.stage });
    const candidate = found.candidate ?? null;
    say(candidate ? `The knee is candidate ${candidate.id}.${found.note ? ` ${found.note}` : ""}` : "No candidate holds the budget: there is no knee.");
    return this.chart.mark({ knee: candidate?.id ?? null });
  }

  async #copy() {
    kept(this.view);
    await navigator.clipboard.writeText(location.href);
    say("The link is copied.");
  }

  async #returned() {
    this.view = restored();
    Object.assign(this.chart.over, { limits: limits(this.view), picked: this.view.candidate, knee: null });
    this.parallelPanel.open = this.view.parallel;
    this.kneeButton.setAttribute("aria-pressed", String(this.view.knee));
    if (!this.shown) return;
    await this.#redraw(false);
    this.answer.ask(this.view);
    this.#showPicked();
    await this.#follow();
  }

  // A search that goes on

  async #acted() {
    await this.#refresh();
    this.#listen();
  }

  async #listen() {
    if (this.following || ended(this.search)) return;
    this.following = true;
    // What is stored already is on the page.
    const where = `${path("searches", this.name, "events")}?after=${this.search.trials}`;
    await follow(where, () => this.#soon());
    this.following = false;
    await this.#refresh();
  }

  /** Draw what is new, once a second at most. */
  #soon() {
    if (this.waits) return;
    this.waits = true;
    const since = performance.now() - (this.refreshed ?? -Infinity);
    setTimeout(async () => {
      await this.#refresh();
      this.refreshed = performance.now();
      this.waits = false;
    }, Math.max(0, PERIOD - since));
  }

  async #refresh() {
    try {
      const before = `${this.search.frontier_version} ${this.columns.size}`;
      this.search = await get(path("searches", this.name));
      this.data.dense = this.search.dense;
      this.head.show(this.search);
      if (this.columns.columns.size) await this.columns.refresh();
      else await this.columns.load(() => {});
      if (!this.columns.size) return this.#nothing();
      if (!this.shown) {
        await this.#first();
        return this.#enrich();
      }
      if (`${this.search.frontier_version} ${this.columns.size}` === before) return null;
      await this.chart.draw(this.view);
      this.answer.ask(this.view);
      return this.members.show(this.view);
    } catch (error) {
      return say(error.message);
    }
  }
}

/** Names of the strategies, as the API's own document lists them. */
async function known() {
  const answer = await fetch("/openapi.json");
  const { parameters } = (await answer.json()).paths["/api/v1/searches/{name}/select"].get;
  return parameters.find(({ name }) => name === "strategy").schema.enum;
}

start("Frontier", async (main) => {
  const [, name] = place();
  await new Explorer(main, name).open();
});

/** The frontier explorer of a search: look, set a budget, download. */

import { get, path } from "../api.js";
import { fill, h } from "../dom.js";
import { start, trail } from "../shell.js";
import { onReturn, place } from "../state.js";
import { behind, button, empty, failure, loading, panel, say } from "../ui.js";
import { Answer } from "./answer.js";
import { Axes } from "./axes.js";
import { Budget } from "./budget.js";
import { Chart, prepared } from "./chart.js";
import { Columns } from "./columns.js";
import { downloads } from "./downloads.js";
import { ended, Head } from "./head.js";
import { Knee } from "./knee.js";
import { bounds, costsOf, measured, strategies } from "./known.js";
import { Live } from "./live.js";
import { Parallel } from "./parallel.js";
import { Picked } from "./picked.js";
import { Members } from "./table.js";
import { AXES, budget, kept, limits, restored } from "./view.js";

/** Delay in milliseconds until tables follow a slider. */
const LATER = 200;
/** Milliseconds that limit lines wait for the answer. */
const PATIENCE = 40;

class Explorer {
  constructor(main, name) {
    Object.assign(this, { main, name, view: restored() });
    this.columns = new Columns(name);
    this.data = {
      name,
      columns: this.columns,
      dense: [],
      objectives: [],
      names: [],
      costs: [],
      strategies: [this.view.strategy],
      bounds: new Map(),
      coverage: null,
    };
    this.shown = false;
  }

  async open() {
    let laid;
    this.laid = new Promise((resolve) => (laid = resolve));
    const code = prepared();
    code.catch(() => {});
    const first = this.#load(code);
    first.catch(() => {});
    this.search = await get(path("searches", this.name));
    this.#lay();
    laid();
    await first;
    await this.#enrich();
    this.live.follow(this.search);
    onReturn(() => this.#returned());
  }

  /** Build the parts of the page that do not need candidates. */
  #lay() {
    const { data, view, search } = this;
    Object.assign(data, { dense: search.dense, objectives: search.objectives });
    this.head = new Head(search, () => this.#acted());
    this.chart = new Chart(data, (id) => this.#pick(id));
    this.axes = new Axes(data, () => this.#redraw(true));
    this.budget = new Budget(data, view, {
      changed: (event, whole) => this.#limited(event, whole),
      settled: (push) => kept(this.view, { push }),
    });
    this.live = new Live(this.name, () => this.#refresh());
    this.answer = new Answer(data, (over) => this.#answered(over));
    this.members = new Members(this.columns, (id) => this.#pick(id));
    this.parallel = new Parallel(data, () => kept(this.view, { push: true }));
    this.picked = new Picked(data, (id) => this.#pick(id));
    this.knee = new Knee(this.name, () => this.view, (id) => {
      kept(this.view);
      this.chart.mark({ knee: id });
    });
    this.waiting = h("div", {}, loading("Loading the candidates"));
    this.problem = h("div");
    const copy = button("Copy link", () => behind(copy, () => this.#copy()));
    const below = h("div", { class: "actions" }, this.knee.element, copy);
    const drawing = panel("Frontier", {}, this.axes.element, this.problem, this.waiting, this.chart.place, below);
    this.content = h("div", { class: "explorer" },
      h("div", { class: "side" }, drawing, panel("Picked candidate", { class: "late" }, this.picked.element)),
      h(
        "div",
        { class: "side late" },
        panel("Budget", {}, this.budget.element),
        panel("Answer", {}, this.answer.element),
      ),
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
      panel("Downloads", {}, downloads(data, () => this.view, (stem) => this.chart.save(stem))),
    );
    document.title = `${this.name} · leanfront`;
    fill(this.main, trail(["Searches", "/"], [this.name]), this.head.element, this.content, this.rest);
  }

  /** Read the candidates; draw the chart as soon as possible. */
  async #load(code) {
    let ready = false;
    code.then(() => (ready = true), () => {});
    let drawing = null;
    await this.columns.load((last) => {
      if (last || !ready || drawing || !this.chart || !this.columns.size) return;
      drawing = this.#first().catch(() => {});
    });
    await code;
    await this.laid;
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
      this.picked.show(view.candidate);
    }
  }

  /** Set axes that are missing from the address or unknown. */
  async #usual() {
    const { view, columns } = this;
    const unknown = await columns.need([view.x, view.y, ...(view.solid ? [view.z] : [])]);
    if (unknown.length) {
      fill(this.problem, h("p", { class: "warn", role: "alert" }, `Not measured: ${unknown.join(", ")}.`));
    }
    const quality = columns.objectives.find((key) => columns.columns.get(key).split);
    const rest = columns.objectives.filter((key) => key !== quality);
    const [x, y, z = rest[0]] = quality ? [rest[0], quality, rest[1]] : rest;
    const usual = { x, y, z };
    for (const axis of AXES) if (!view[axis] || unknown.includes(view[axis])) view[axis] = usual[axis];
    if (view.stage === "before") await columns.needEarly();
    await columns.need(limits(view).map(({ name }) => name));
  }

  /** Build the parts shown after the first chart. */
  async #enrich() {
    const { data, search, view } = this;
    const asked = [measured(this.name, search.dense), strategies(), bounds(this.name)];
    const [names, known, coded] = await Promise.all(asked);
    data.names = [...new Set([...data.names, ...names])];
    data.costs = [...new Set([...data.costs, ...costsOf(search.dense)])];
    data.strategies = known;
    data.bounds = coded;
    if (!this.shown) return;
    await this.columns.need(view.sliders?.filter((name) => data.costs.includes(name)) ?? []);
    this.axes.show(view);
    this.budget.show(view);
    this.budget.bind(this.chart.over.binding);
    if (coded.size) await this.chart.draw(view);
    this.members.show(view);
    if (view.knee) await this.knee.show();
    if (view.parallel) await this.parallel.show(view);
  }

  /** React to a changed limit, strategy or stage: move the lines and request the answer. */
  async #limited(event, whole) {
    const { view } = this;
    this.answer.ask(view, event?.timeStamp ?? null);
    // Lines move together with the answer, in one drawing, unless it takes long.
    this.chart.over.limits = limits(view);
    clearTimeout(this.moving);
    this.moving = setTimeout(() => this.chart.mark({}), PATIENCE);
    clearTimeout(this.later);
    if (whole) await this.#redraw(false);
    this.later = setTimeout(() => this.#rest(), LATER);
  }

  /** Update tables when a slider rests. */
  async #rest() {
    await this.columns.need(limits(this.view).map(({ name }) => name));
    this.members.show(this.view);
    if (this.view.parallel) this.parallel.show(this.view);
    if (this.view.knee) await this.knee.show();
  }

  async #answered(over) {
    this.budget.bind(over.binding);
    clearTimeout(this.moving);
    await this.chart.mark(over);
  }

  /** React to changed axes, scales, dimensions or stage. */
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
    this.picked.show(this.view.candidate);
  }

  async #copy() {
    kept(this.view);
    // Without TLS, browsers give pages no clipboard.
    await navigator.clipboard?.writeText(location.href);
    say(navigator.clipboard ? "The link is copied." : "The address above is the link.");
  }

  async #returned() {
    this.view = restored();
    Object.assign(this.chart.over, { limits: limits(this.view), picked: this.view.candidate, knee: null });
    this.parallelPanel.open = this.view.parallel;
    if (!this.shown) return;
    await this.#redraw(false);
    this.answer.ask(this.view);
    this.picked.show(this.view.candidate);
    await this.#rest();
    if (!this.view.knee) await this.knee.show();
  }

  // Running searches

  async #acted() {
    await this.#refresh();
    this.live.follow(this.search);
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

start("Frontier", async (main) => {
  const [, name] = place();
  await new Explorer(main, name).open();
});

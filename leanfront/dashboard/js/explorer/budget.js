/** Budgets: two sliders with fields, further limits, and the strategy. */

import { add, fill, h } from "../dom.js";
import { label, number } from "../format.js";
import { button, field, select } from "../ui.js";
import { keepingFocus } from "./focus.js";
import { amount } from "./view.js";

const STEPS = 500;
const WORDS = { maximum: "at most", minimum: "at least" };

/** The controls of a budget, which change a view. */
export class Budget {
  /**
   * @param {object} data `columns`, `dense`, `names` (measurements), `costs` (names of costs), `strategies`,
   *   `objectives` (short names)
   * @param {object} view
   * @param {object} told
   * @param {function(Event|null, boolean): void} told.changed called after each change with its event, and whether
   *   it affects more than the answer
   * @param {function(boolean): void} told.settled called after a change with whether it gets a history entry
   */
  constructor(data, view, { changed, settled }) {
    Object.assign(this, { data, view, changed, settled });
    this.sliders = h("div", { class: "sliders" });
    this.caps = h("div", { class: "caps" });
    this.choice = h("div", { class: "row" });
    this.element = add(h("div"), this.sliders, this.choice, this.caps);
    this.last = { control: null, time: 0 };
  }

  /** Show the values of the view. */
  show(view = this.view) {
    this.view = view;
    this.governed = this.#governed();
    keepingFocus(() => {
      fill(this.sliders, this.governed.map((name, place) => this.#slider(name, place)));
      this.#showChoice();
      this.#showCaps();
    });
  }

  /** Mark the binding limit; null for none. */
  bind(name) {
    for (const each of this.element.querySelectorAll("[data-limit]")) {
      const bound = each.dataset.limit === name;
      each.classList.toggle("binding", bound);
      each.querySelector(".binds").hidden = !bound;
    }
  }

  #governed() {
    const { costs, columns } = this.data;
    const own = columns.objectives.map((key) => columns.columns.get(key));
    const usual = [...own.filter(({ split }) => !split).map(({ name }) => name), ...costs];
    const wanted = this.view.sliders?.filter((name) => costs.includes(name)) ?? [];
    return [...new Set([...wanted, ...usual])].slice(0, 2);
  }

  #slider(name, place) {
    const { columns, dense, costs } = this.data;
    const column = columns.columns.get(name);
    const unit = column?.unit ?? dense.find((each) => each.name === name)?.unit ?? "";
    const [least, most] = span(column, dense.find((each) => each.name === name && !each.split)?.value);
    const at = (value) => Math.round((STEPS * Math.log(value / least)) / Math.log(most / least));
    const range = h("input", { type: "range", id: `slide-${place}`, min: 0, max: STEPS, step: 1 });
    range.setAttribute("aria-label", `${label(name)} at most`);
    const text = h("input", { type: "text", id: `limit-${place}`, autocomplete: "off", placeholder: "no limit" });
    const wrong = h("small", { class: "wrong", role: "alert" });
    const shown = () => {
      const limit = amount(this.view.maximum[name]);
      range.value = limit === null ? STEPS : Math.min(STEPS, Math.max(0, at(limit)));
      range.setAttribute("aria-valuetext", limit === null ? "no limit" : number(limit, unit));
      text.value = limit === null ? (this.view.maximum[name] ?? "") : number(limit, unit);
      fill(wrong);
    };
    const slide = (event) => {
      const step = Number(range.value);
      if (step >= STEPS) delete this.view.maximum[name];
      else this.view.maximum[name] = String(Number((least * (most / least) ** (step / STEPS)).toPrecision(3)));
      const own = this.view.maximum[name];
      text.value = own === undefined ? "" : number(Number(own), unit);
      range.setAttribute("aria-valuetext", own === undefined ? "no limit" : text.value);
      fill(wrong);
      this.changed(event, false);
    };
    range.addEventListener("input", slide);
    range.addEventListener("change", () => this.settled(this.#isNew(range)));
    text.addEventListener("change", (event) => {
      const typed = text.value.trim();
      const limit = amount(typed);
      if (typed && (limit === null || limit <= 0)) {
        text.setAttribute("aria-invalid", "true");
        return fill(wrong, "Enter a number, optionally with a unit: 64KB, 20M");
      }
      text.removeAttribute("aria-invalid");
      if (typed) this.view.maximum[name] = String(limit);
      else delete this.view.maximum[name];
      shown();
      return this.#over(event);
    });
    const which = select(costs.map((cost) => [cost, label(cost)]), name, (other) => {
      delete this.view.maximum[name];
      const both = [...this.governed];
      const twin = both.indexOf(other);
      if (twin >= 0) both[twin] = name;
      both[place] = other;
      this.view.sliders = both;
      this.#over(null, true);
    });
    which.id = `governs-${place}`;
    which.setAttribute("aria-label", `What the ${place ? "second" : "first"} slider governs`);
    text.setAttribute("aria-label", `${label(name)} at most, typed`);
    shown();
    const reach = `${number(least, unit)} to ${number(most, unit)}`;
    const binds = h("strong", { class: "binds", hidden: true }, "binds");
    return h(
      "div",
      { class: "limit", dataset: { limit: name } },
      h("div", { class: "row" }, which, " ≤ ", text, binds),
      range,
      h("small", {}, `candidates: ${reach}`),
      wrong,
    );
  }

  #showChoice() {
    const { view, data } = this;
    const strategy = select(data.strategies, view.strategy, (chosen) => {
      view.strategy = chosen;
      this.#over(null);
      keepingFocus(() => this.#showChoice());
    }, { id: "strategy" });
    const order = h("input", { type: "text", value: view.order ?? "", placeholder: data.objectives.join(",") });
    order.addEventListener("change", (event) => {
      view.order = order.value.trim() || null;
      this.#over(event);
    });
    const weights = data.objectives.map((name) => {
      const value = view.weights[name] ?? "";
      const input = h("input", { type: "number", min: 0, step: "any", value, placeholder: "1" });
      input.addEventListener("change", (event) => {
        if (input.value === "") delete view.weights[name];
        else view.weights[name] = input.value;
        this.#over(event);
      });
      return field(`weight of ${name}`, input);
    });
    const stages = [["after", "after recovery"], ["before", "before recovery"]];
    const stage = select(stages, view.stage, (chosen) => {
      view.stage = chosen;
      this.#over(null, true);
    }, { id: "stage" });
    fill(
      this.choice,
      field("Choose by", strategy),
      data.columns.recovered || view.stage === "before" ? field("Stage", stage) : null,
      view.strategy === "lexicographic" ? field("Order, most important first", order) : null,
      view.strategy === "chebyshev" ? weights : null,
    );
  }

  #showCaps() {
    const { view, data } = this;
    const others = ["minimum", "maximum"].flatMap((side) =>
      Object.keys(view[side])
        .filter((name) => side === "minimum" || !this.governed.includes(name))
        .map((name) => this.#cap(side, name)),
    );
    const side = select(Object.entries(WORDS), "minimum", () => {}, { "aria-label": "At least or at most" });
    const metrics = data.names.filter((name) => !name.includes(":"));
    const name = select(metrics.map((each) => [each, label(each)]), metrics[0], () => {}, { id: "cap-name" });
    name.setAttribute("aria-label", "Measurement to limit");
    const value = h("input", { type: "text", "aria-label": "Limit", placeholder: "0.9", size: 8, required: true });
    const submit = h("button", { type: "submit", id: "cap-add" }, "Add limit");
    const form = h("form", { class: "row" }, name, side, value, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (amount(value.value) === null) {
        value.setCustomValidity("Enter a number, optionally with a unit: 0.9, 64KB, 20M");
        value.reportValidity();
        value.addEventListener("input", () => value.setCustomValidity(""), { once: true });
        return;
      }
      view[side.value][name.value] = String(amount(value.value));
      this.#over(event);
      this.show();
    });
    fill(this.caps, h("h3", {}, "Further limits"), others.length ? h("ul", {}, others) : null, form);
  }

  #cap(side, name) {
    const text = this.view[side][name];
    const words = `${label(name)} ${WORDS[side]} ${text}`;
    const remove = () => {
      delete this.view[side][name];
      this.#over(null);
      this.show();
      document.getElementById("cap-name").focus();
    };
    const binds = h("strong", { class: "binds", hidden: true }, " binds");
    const away = button("Remove", remove, { "aria-label": `Remove: ${words}` });
    return h("li", { dataset: { limit: name } }, words, binds, " ", away);
  }

  #over(event, whole = false) {
    this.changed(event, whole);
    this.settled(true);
  }

  /** Whether a slider move is a new one: consecutive key presses on one slider count as one move. */
  #isNew(control) {
    const { last } = this;
    const isNew = last.control !== control || performance.now() - last.time > 2000;
    this.last = { control, time: performance.now() };
    return isNew;
  }
}

/** Lowest and highest value of a cost, rounded outwards so that the ends include all candidates. */
function span(column, dense) {
  const values = (column?.value ?? []).filter((value) => value > 0);
  if (dense > 0) values.push(dense);
  let [least, most] = [Infinity, 0];
  for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
  if (!values.length) return [1, 1e9];
  return least < most ? [least, most] : [least / 2, most * 2];
}

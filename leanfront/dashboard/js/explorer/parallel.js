/** Parallel coordinates of the frontier's configurations, also as a table. */

import { find, path } from "../api.js";
import { add, fill, h } from "../dom.js";
import { axisTitle, number, significant } from "../format.js";
import { canvas, draw, hasWebGL, plain } from "../plot.js";
import { link } from "../shell.js";
import { check, empty, failure, loading, table } from "../ui.js";
import { measurementOf } from "./card.js";
import { members } from "./downloads.js";
import { budget } from "./view.js";

const MOST_LINES = 500;
const USUAL = 9;
const DENSE_BITS = 32;

/** The content of the panel; `changed` is called when other axes are chosen. */
export class Parallel {
  /**
   * @param {object} data `name`, `columns`, `coverage` (or null)
   * @param {function(): void} changed
   */
  constructor(data, changed) {
    Object.assign(this, { data, changed });
    this.place = canvas(420);
    this.choices = h("details", { class: "axes" });
    this.rows = h("div");
    this.said = h("div", { role: "status" });
    this.element = add(h("div"), this.said, this.place, this.choices, this.rows);
    this.asked = null;
  }

  /** Show the frontier within the limits of a view. */
  async show(view) {
    this.view = view;
    const own = {};
    this.asked = own;
    fill(this.said, loading());
    try {
      this.data.coverage ??= await find(path("searches", this.data.name, "coverage"));
      const found = await members(this.data.name, { ...budget(view), stage: view.stage }, MOST_LINES);
      if (own !== this.asked) return;
      this.found = found;
      await this.#draw();
    } catch (error) {
      if (own === this.asked) fill(this.said, failure(error, () => this.show(view)));
    }
  }

  async #draw() {
    const { found, view } = this;
    this.place.hidden = this.choices.hidden = !found.length;
    if (!found.length) {
      fill(this.rows);
      return fill(this.said, empty("No frontier member is within the limits."));
    }
    const axes = axesOf(found, this.data.columns.objectives, this.data.coverage);
    const usual = usualOf(axes);
    const chosen = view.axes?.filter((key) => axes.has(key)) ?? usual;
    fill(this.said, found.length < MOST_LINES ? null : h("p", { class: "note" }, `The first ${MOST_LINES} by memory.`));
    this.#offer(axes, chosen);
    if (hasWebGL()) await this.#chart(axes, chosen);
    else this.place.hidden = true;
    const shown = chosen.map((key) => axes.get(key));
    fill(this.rows, table({
      caption: `Configurations of ${found.length} members of the frontier`,
      header: ["candidate", ...shown.map(({ title }) => title)],
      rows: found.map((each, place) => [
        { text: h("a", { href: link("candidates", each.id) }, String(each.id)), sort: each.id },
        ...shown.map(({ values, unit }) => ({ text: number(values[place], unit), sort: values[place] ?? Infinity })),
      ]),
      sortable: true,
      properties: { class: "configurations" },
    }));
    return null;
  }

  async #chart(axes, chosen) {
    const quality = [...axes.values()].find(({ split }) => split);
    const colour = quality ?? axes.values().next().value;
    const dimensions = chosen.map((key) => {
      const { values, title, log } = axes.get(key);
      if (!log) return { label: plain(shortened(title)), values };
      const shown = values.map((value) => Math.log10(value));
      const ticks = ticksOf(shown);
      const ticktext = ticks.map((each) => significant(10 ** each));
      return { label: plain(shortened(title)), values: shown, tickvals: ticks, ticktext };
    });
    const colorbar = { title: { text: plain(colour.title) }, thickness: 14 };
    const line = { color: colour.values, colorscale: "Viridis", showscale: true, colorbar };
    const trace = { type: "parcoords", dimensions, line, labelangle: -20, labelside: "top" };
    const alt = `Parallel coordinates of ${this.found.length} configurations; the table below has the same data.`;
    await draw(this.place, [trace], { margin: { t: 90, b: 20, l: 60, r: 20 } }, { alt });
  }

  #offer(axes, chosen) {
    const boxes = [...axes].map(([key, { title }]) =>
      check(title, chosen.includes(key), (on) => {
        const next = [...axes.keys()].filter((each) => (each === key ? on : chosen.includes(each)));
        if (next.length < 2) return this.#draw();
        this.view.axes = next;
        this.changed();
        return this.#draw();
      }),
    );
    const summary = h("summary", {}, `Axes (${chosen.length} of ${axes.size})`);
    fill(this.choices, summary, h("div", { class: "row boxes" }, boxes));
  }
}

/** All possible axes: key -> {title, values, unit, log, split, kind}. */
function axesOf(found, objectives, coverage) {
  const axes = new Map();
  const others = found[0].measurements.filter(({ split }) => split !== "test").map(({ name }) => name);
  const measured = [...new Set([...objectives, ...others])];
  for (const name of measured) {
    const own = found.map((each) => measurementOf(each, name));
    const { unit = "", split = null } = own.find(Boolean) ?? {};
    const values = own.map((each) => each?.value ?? null);
    if (values.includes(null)) continue;
    const log = !split && values.every((value) => value > 0);
    const kind = objectives.includes(name) ? "objective" : "measured";
    axes.set(name, { title: axisTitle(name, unit), values, unit, split, log, kind });
  }
  const layers = layersOf(found, coverage);
  if (layers.length) {
    const values = found.map((each) => mean(layers.map(({ name, weights }) => [bitsOf(each, name), weights])));
    axes.set("bits", { title: "mean bits", values, unit: "", kind: "whole" });
  }
  const groups = groupsOf(found, coverage);
  const share = (each, { name, units }) => (each.configuration.channels[name] ?? units) / units;
  if (groups.length) {
    const values = found.map((each) => mean(groups.map((group) => [share(each, group), group.units])));
    axes.set("kept", { title: "kept channels", values, unit: "1", kind: "whole" });
  }
  for (const group of groups) {
    const values = found.map((each) => share(each, group));
    axes.set(`channels/${group.name}`, { title: `kept of ${group.name}`, values, unit: "1", kind: "part" });
  }
  for (const { name } of layers) {
    const values = found.map((each) => bitsOf(each, name));
    axes.set(`bits/${name}`, { title: `bits of ${name}`, values, unit: "", kind: "part" });
  }
  return axes;
}

/** Default axes: the objectives, the whole configuration, and the parts that differ most between candidates. */
function usualOf(axes) {
  const all = [...axes];
  const first = all.filter(([, { kind }]) => kind === "objective" || kind === "whole").map(([key]) => key);
  const spread = all
    .filter(([key, { kind }]) => kind === "part" && key.startsWith("channels/"))
    .map(([key, { values }]) => [key, variance(values)])
    .sort((a, b) => b[1] - a[1])
    .map(([key]) => key);
  const chosen = new Set([...first, ...spread.slice(0, Math.max(2, USUAL - first.length))]);
  return all.map(([key]) => key).filter((key) => chosen.has(key));
}

function bitsOf({ configuration }, layer) {
  return configuration.weight_bits[layer] ?? DENSE_BITS;
}

function layersOf(found, coverage) {
  const named = new Set(found.flatMap((each) => Object.keys(each.configuration.weight_bits)));
  const weights = new Map((coverage?.layers ?? []).map((layer) => [layer.name, layer.weights]));
  return [...named].map((name) => ({ name, weights: weights.get(name) ?? 1 }));
}

function groupsOf(found, coverage) {
  if (coverage?.groups?.length) return coverage.groups.map(({ name, units }) => ({ name, units }));
  // Without the coverage, the largest number kept by any candidate stands for all units.
  const most = new Map();
  for (const { configuration } of found) {
    for (const [name, kept] of Object.entries(configuration.channels)) {
      most.set(name, Math.max(kept, most.get(name) ?? 1));
    }
  }
  return [...most].map(([name, units]) => ({ name, units }));
}

function mean(pairs) {
  const whole = pairs.reduce((sum, [, weight]) => sum + weight, 0);
  return whole ? pairs.reduce((sum, [value, weight]) => sum + value * weight, 0) / whole : 0;
}

function variance(values) {
  const middle = mean(values.map((value) => [value, 1]));
  return mean(values.map((value) => [(value - middle) ** 2, 1]));
}

function ticksOf(logs) {
  const [least, most] = [Math.min(...logs), Math.max(...logs)];
  return least === most ? [least] : [0, 1, 2, 3, 4].map((step) => least + (step * (most - least)) / 4);
}

function shortened(text) {
  return text.length > 24 ? `…${text.slice(-23)}` : text;
}

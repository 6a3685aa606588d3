/** The chart of the frontier: candidates, intervals, the dense model, limits, and rings around what is chosen. */

import { axisTitle, label, number } from "./format.js";
import { BLUE, canvas, draw, GREEN, GREY, hasWebGL, ORANGE, plain, plotly, png, PURPLE, relayout, shade, VERMILION } from "./plot.js";
import { AXES } from "./explorer-view.js";

const HEIGHT = 520;
/** Beyond so many, each point of the frontier is no longer an element of its own. */
const MANY = 400;
const MARGIN = 0.05;

/** The chart; a candidate that is clicked is given to `pick`. */
export class Chart {
  /**
   * @param {object} data what is drawn: `columns`, `dense` (measurements), `bounds` (id -> bytes)
   * @param {function(number): void} pick
   */
  constructor(data, pick) {
    this.data = data;
    this.place = canvas(HEIGHT, { class: "frontier" });
    this.pick = pick;
    this.listens = false;
    this.drawn = false;
    /** What is ringed and limited, drawn over the points. */
    this.over = { limits: [], binding: null, answer: null, nearest: false, picked: null, knee: null };
  }

  /** Draw all of it. */
  async draw(view) {
    this.view = view;
    const axes = this.#axes();
    const groups = this.#groups(axes);
    const solid = view.solid;
    const traces = groups.map((group) => this.#trace(group, axes));
    if (solid) traces.push(...this.#rings3d(axes));
    const common = {
      hovermode: "closest",
      legend: { orientation: "h", y: solid ? 0 : -0.16, yanchor: "top" },
      margin: { t: 32, r: 16, b: 16, l: 16 },
      uirevision: axes.map(({ key, type }) => `${key} ${type}`).join(),
    };
    this.ranges = solid ? null : axes.map((axis) => rangeOf(groups, axis));
    const layout = solid
      ? { ...common, scene: Object.fromEntries(axes.map((axis) => [`${axis.axis}axis`, axisOf(axis)])) }
      : {
          ...common,
          ...Object.fromEntries(axes.map((axis, place) => [`${axis.axis}axis`, { ...axisOf(axis), ...this.ranges[place] }])),
          shapes: this.#shapes(),
        };
    await draw(this.place, traces, layout, { alt: this.#alt(axes, groups), config: { scrollZoom: false } });
    this.drawn = true;
    this.#listen();
  }

  /** Move the limits and the rings alone. */
  async mark(over) {
    Object.assign(this.over, over);
    if (!this.drawn) return;
    if (!this.view.solid) await relayout(this.place, { shapes: this.#shapes() });
    else if (["answer", "picked", "knee"].some((each) => each in over)) await this.draw(this.view);
  }

  /** Save it as a picture. */
  async save(filename) {
    await png(this.place, filename);
  }

  #listen() {
    if (this.listens) return;
    this.listens = true;
    this.place.on("plotly_click", ({ points }) => {
      const id = points[0].customdata;
      if (Number.isInteger(id)) this.pick(id);
    });
  }

  #axes() {
    const { view, data } = this;
    return AXES.slice(0, view.solid ? 3 : 2).map((axis) => {
      const { name, unit, split } = data.columns.columns.get(view[axis]);
      const type = view.scale[axis] ?? defaultScale(split);
      return { axis, key: view[axis], name, unit, split, type };
    });
  }

  #groups(axes) {
    const { columns, dense, bounds } = this.data;
    const { stage } = this.view;
    const parts = { dominated: [], stopped: [], frontier: [], recovered: [] };
    for (let place = 0; place < columns.size; place += 1) {
      const state = columns.states[place];
      if (state === "failed" || !columns.isOf(place, stage)) continue;
      if (state === "stopped") parts.stopped.push(place);
      else if (!columns.isMember(place, stage)) parts.dominated.push(place);
      else parts[columns.parents[place] === null ? "frontier" : "recovered"].push(place);
    }
    const several = !parts.recovered.length ? "frontier" : "frontier, not recovered";
    const groups = [
      { name: "dominated", places: parts.dominated, marker: { color: GREY, size: 5, opacity: 0.4 } },
      { name: "stopped early (estimate)", places: parts.stopped, marker: { color: ORANGE, size: 6, symbol: "x-thin-open", opacity: 0.8 } },
      { name: several, places: parts.frontier, bars: true, marker: { color: BLUE, size: 8 } },
      { name: "frontier, recovered", places: parts.recovered, bars: true, marker: { color: GREEN, size: 8, symbol: "square" } },
    ];
    const found = groups.filter(({ places }) => places.length).map((group) => ({ ...group, ...this.#numbers(group.places, axes) }));
    const model = axes.map(({ name, split }) => dense.find((each) => each.name === name && each.split === split)?.value ?? null);
    if (!model.includes(null)) {
      const own = { name: "dense model", points: model.map((value) => [value]), ids: [null], said: "dense model" };
      found.push({ ...own, marker: { color: VERMILION, size: this.view.solid ? 6 : 14, symbol: this.view.solid ? "diamond" : "star" } });
    }
    const size = axes.findIndex(({ name }) => name === "memory_bytes");
    const known = [...parts.frontier, ...parts.recovered].filter((place) => bounds.has(columns.ids[place]));
    if (size >= 0 && known.length) {
      const own = this.#numbers(known, axes);
      own.points[size] = own.ids.map((id) => bounds.get(id));
      const marker = { color: PURPLE, size: 9, symbol: "diamond-open" };
      found.push({ name: "entropy-coded bound", ...own, marker, said: "bound of candidate %{customdata}" });
    }
    return found;
  }

  #numbers(places, axes) {
    const { columns } = this.data;
    const of = (list, key) => places.map((place) => columns.columns.get(key)[list][place]);
    return {
      ids: places.map((place) => columns.ids[place]),
      points: axes.map(({ key }) => of("value", key)),
      ends: axes.map(({ key }) => ({ low: of("low", key), high: of("high", key) })),
    };
  }

  #trace({ name, ids, points, ends, bars, marker, said = "candidate %{customdata}" }, axes) {
    const lines = axes.map(({ axis, name: own, unit }) => `${plain(label(own))} %{${axis}${formatOf(unit)}}`);
    const trace = {
      type: this.#kind(ids.length),
      mode: "markers",
      name: plain(name),
      customdata: ids,
      marker: this.view.solid ? { ...marker, size: Math.max(2, marker.size / 2), symbol: solidSymbol(marker.symbol) } : marker,
      hovertemplate: [said, ...lines].join("<br>") + "<extra></extra>",
    };
    axes.forEach(({ axis }, place) => {
      trace[axis] = points[place];
      if (bars && ends[place].low.some((low) => low !== null)) trace[`error_${axis}`] = barsOf(points[place], ends[place]);
    });
    return trace;
  }

  #kind(count) {
    if (this.view.solid) return "scatter3d";
    return hasWebGL() && count > MANY ? "scattergl" : "scatter";
  }

  #rings3d(axes) {
    const ring = (id, name, color) => {
      const place = this.data.columns.places.get(id);
      if (place === undefined) return [];
      const at = axes.map(({ axis, key }) => [axis, [this.data.columns.value(place, key)]]);
      const marker = { size: 11, symbol: "circle-open", color, line: { width: 3 } };
      return [{ type: "scatter3d", mode: "markers", name, customdata: [id], marker, hoverinfo: "skip", ...Object.fromEntries(at) }];
    };
    const { answer, picked, knee, nearest } = this.over;
    return [
      ...ring(answer, nearest ? "nearest" : "answer", VERMILION),
      ...ring(picked, "picked", shade("text")),
      ...ring(knee, "knee", PURPLE),
    ];
  }

  #shapes() {
    const { limits, binding, answer, picked, knee, nearest } = this.over;
    const axes = this.#axes();
    const lines = limits.flatMap((limit) => axes.filter((axis) => isLimited(axis, limit)).map((axis) => lineOf(axis, limit, binding)));
    return [
      ...lines.filter(Boolean),
      ...this.#ring(knee, 13, { color: PURPLE, width: 2, dash: "dash" }, "knee"),
      ...this.#ring(picked, 10, { color: shade("text"), width: 2 }, ""),
      ...this.#ring(answer, 8, { color: VERMILION, width: 3, dash: nearest ? "dot" : "solid" }, nearest ? "nearest" : ""),
    ];
  }

  #ring(id, radius, line, text) {
    const place = this.data.columns.places.get(id);
    if (place === undefined) return [];
    const [x, y] = this.#axes().map(({ key }) => this.data.columns.value(place, key));
    if (x === null || y === null) return [];
    const circle = { type: "circle", xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y, line };
    const said = text ? { label: { text, textposition: "top center", padding: radius, font: { color: line.color, size: 12 } } } : {};
    return [{ ...circle, x0: -radius, x1: radius, y0: -radius, y1: radius, ...said }];
  }

  #alt(axes, groups) {
    const names = axes.map(({ name, split }) => label(name) + (split === "test" ? " on test" : ""));
    const said = groups.map(({ name, ids }) => (ids[0] === null ? name : `${ids.length} ${name}`)).join("; ");
    return `${names[1]} against ${names.filter((_, place) => place !== 1).join(" and ")}: ${said}. The tables below hold the same.`;
  }
}

/** Load the charts' code before it is needed. @returns {Promise<void>} */
export async function prepared() {
  await plotly();
}

/** Costs span orders of magnitude. */
export function defaultScale(split) {
  return split ? "linear" : "log";
}

function axisOf({ name, unit, split, type }) {
  const title = { text: plain(axisTitle(name, unit) + (split === "test" ? " on test" : "")) };
  // On a short logarithmic axis every digit would be labelled.
  const ticks = type === "log" ? { dtick: "D2" } : {};
  return { type, title, exponentformat: "SI", ...ticks };
}

/** The range that shows all points; given, limits can move without anything else being computed. */
function rangeOf(groups, { axis, type }) {
  const place = AXES.indexOf(axis);
  let [least, most] = [Infinity, -Infinity];
  for (const { points, ends, bars } of groups) {
    for (const list of [points[place], ...(bars ? [ends[place].low, ends[place].high] : [])]) {
      for (const value of list) {
        if (value === null || (type === "log" && value <= 0)) continue;
        if (value < least) least = value;
        if (value > most) most = value;
      }
    }
  }
  if (least > most) return { range: type === "log" ? [0, 1] : [0, 1], autorange: false };
  const [low, high] = type === "log" ? [Math.log10(least), Math.log10(most)] : [least, most];
  const room = MARGIN * (high - low) || Math.abs(high) * MARGIN || 1;
  return { range: [low - room, high + room], autorange: false };
}

function barsOf(values, { low, high }) {
  const length = (a, b) => (a === null || b === null ? 0 : Math.abs(a - b));
  return {
    type: "data",
    symmetric: false,
    array: values.map((value, place) => length(high[place], value)),
    arrayminus: values.map((value, place) => length(value, low[place])),
    thickness: 1,
    width: 0,
  };
}

function isLimited({ name, split }, limit) {
  return name === limit.name && split !== "test" && limit.amount !== null;
}

function lineOf({ axis, type, unit, name }, { side, amount }, binding) {
  if (type === "log" && amount <= 0) return null;
  const other = axis === "x" ? "y" : "x";
  const at = { [`${axis}0`]: amount, [`${axis}1`]: amount, [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1 };
  const text = `${side === "maximum" ? "≤" : "≥"} ${number(amount, unit)}`;
  const bound = name === binding;
  const label = { text: bound ? `${text} binds` : text, textposition: "end", textangle: 0, font: { size: 11, color: shade("text") } };
  return { type: "line", ...at, line: { color: VERMILION, width: bound ? 4 : 2, dash: "dash" }, label, layer: "above" };
}

function formatOf(unit) {
  return unit === "1" || unit === "nat" ? ":.4f" : ":.4s";
}

function solidSymbol(symbol = "circle") {
  // There are fewer in three dimensions.
  return { square: "square", diamond: "diamond", "diamond-open": "diamond-open" }[symbol] ?? (symbol.startsWith("x") ? "x" : "circle");
}

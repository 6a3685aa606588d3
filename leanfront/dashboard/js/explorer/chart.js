/** The chart of the frontier: candidates, intervals, the dense model, limits, and rings around selected ones. */

import { axisTitle, label, number } from "../format.js";
import { BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION } from "../plot.js";
import { canvas, draw, hasWebGL, plain, plotly, png, relayout, shade } from "../plot.js";
import { AXES } from "./view.js";

const HEIGHT = 520;
/** Number of frontier points above which they are no longer separate elements. */
const MANY = 400;
const MARGIN = 0.05;
const CAMERA = { eye: { x: 1.7, y: 1.7, z: 0.8 } };
/** In three dimensions, plotly's z axis points up. */
const SOLID = { x: "x", y: "z", z: "y" };

/** The chart; `pick` is called with a clicked candidate. */
export class Chart {
  /**
   * @param {object} data `columns`, `dense` (measurements), `bounds` (id -> bytes)
   * @param {function(number): void} pick
   */
  constructor(data, pick) {
    this.data = data;
    this.place = canvas(HEIGHT, { class: "frontier" });
    this.pick = pick;
    this.listens = false;
    this.drawn = false;
    /** Rings and limits, drawn over the points. */
    this.over = { limits: [], binding: null, answer: null, nearest: false, picked: null, knee: null };
  }

  /** Draw everything. */
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
    const named = (made) => Object.fromEntries(axes.map((axis) => [`${axis.axis}axis`, made(axis)]));
    const scene = { aspectmode: "cube", camera: CAMERA };
    const layout = solid
      ? { ...common, scene: { ...scene, ...named((axis) => ({ ...axisOf(axis), dtick: null })) } }
      : { ...common, ...named((axis) => ({ ...axisOf(axis), ...rangeOf(groups, axis) })), ...this.#drawnOver() };
    await draw(this.place, traces, layout, { alt: this.#alt(axes, groups), config: { scrollZoom: false } });
    this.drawn = true;
    this.#listen();
  }

  /** Update only limits and rings. */
  async mark(over) {
    Object.assign(this.over, over);
    if (!this.drawn) return;
    if (!this.view.solid) await relayout(this.place, this.#drawnOver());
    else if (["answer", "picked", "knee"].some((each) => each in over)) await this.draw(this.view);
  }

  /** Save the chart as a picture. */
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
      return { axis: view.solid ? SOLID[axis] : axis, key: view[axis], name, unit, split, type };
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
      {
        name: "stopped early (estimate)",
        places: parts.stopped,
        marker: { color: ORANGE, size: 6, symbol: "x-thin-open", opacity: 0.8 },
      },
      { name: several, places: parts.frontier, bars: true, marker: { color: BLUE, size: 8 } },
      {
        name: "frontier, recovered",
        places: parts.recovered,
        bars: true,
        marker: { color: GREEN, size: 8, symbol: "square" },
      },
    ];
    const found = groups
      .filter(({ places }) => places.length)
      .map((group) => ({ ...group, ...this.#numbers(group.places, axes) }));
    const model = axes.map(
      ({ name, split }) => dense.find((each) => each.name === name && each.split === split)?.value ?? null,
    );
    if (!model.includes(null)) {
      const own = { name: "dense model", points: model.map((value) => [value]), ids: [null], said: "dense model" };
      found.push({ ...own, marker: { color: VERMILION, size: 14, symbol: this.view.solid ? "diamond" : "star" } });
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
    const solid = { ...marker, size: Math.max(2, marker.size / 2), symbol: solidSymbol(marker.symbol) };
    const trace = {
      type: this.#kind(ids.length),
      mode: "markers",
      name: plain(name),
      customdata: ids,
      marker: this.view.solid ? solid : marker,
      hovertemplate: [said, ...lines].join("<br>") + "<extra></extra>",
    };
    axes.forEach(({ axis }, place) => {
      trace[axis] = points[place];
      const ranged = bars && ends[place].low.some((low) => low !== null);
      if (ranged) trace[`error_${axis}`] = barsOf(points[place], ends[place]);
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
      const trace = { type: "scatter3d", mode: "markers", name, marker, hoverinfo: "skip" };
      return [{ ...trace, ...Object.fromEntries(at) }];
    };
    const { answer, picked, knee, nearest } = this.over;
    return [
      ...ring(answer, nearest ? "nearest" : "answer", VERMILION),
      ...ring(picked, "picked", shade("text")),
      ...ring(knee, "knee", PURPLE),
    ];
  }

  #drawnOver() {
    const { limits, binding, answer, picked, knee, nearest } = this.over;
    const axes = this.#axes();
    const lines = limits.flatMap((limit) =>
      axes.filter((axis) => isLimited(axis, limit)).map((axis) => lineOf(axis, limit, binding)),
    );
    const chosen = { color: VERMILION, width: 3, dash: nearest ? "dot" : "solid" };
    const rings = [
      this.#ring(axes, knee, 13, { color: PURPLE, width: 2, dash: "dash" }, "knee"),
      this.#ring(axes, picked, 10, { color: shade("text"), width: 2 }, ""),
      this.#ring(axes, answer, 8, chosen, nearest ? "nearest" : "answer"),
    ];
    // Shapes only: they move ten times as fast as annotations.
    return { shapes: [...lines, ...rings].filter(Boolean) };
  }

  #ring(axes, id, radius, line, text) {
    const place = this.data.columns.places.get(id);
    if (place === undefined) return null;
    const [x, y] = axes.map(({ key }) => this.data.columns.value(place, key));
    if (x === null || y === null) return null;
    const at = { xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y };
    const font = { color: shade("text"), size: 12 };
    const over = { textposition: "top center", yanchor: "bottom", textangle: 0 };
    return {
      ...{ type: "path", path: circle(radius), ...at, line },
      label: text ? { text: `${text} ${id}`, font, ...over } : undefined,
    };
  }

  #alt(axes, groups) {
    const names = axes.map(({ name, split }) => label(name) + (split === "test" ? " on test" : ""));
    const said = groups.map(({ name, ids }) => (ids[0] === null ? name : `${ids.length} ${name}`)).join("; ");
    const others = names.filter((_, place) => place !== 1).join(" and ");
    return `${names[1]} against ${others}: ${said}. The tables below have the same data.`;
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
  // On a short logarithmic axis, every digit would be labelled.
  const ticks = type === "log" ? { dtick: "D2" } : {};
  return { type, title, exponentformat: "SI", ...ticks };
}

/** The range that shows all points; if given, limits can move without further computation. */
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
  if (least > most) return { range: [0, 1], autorange: false };
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

/** A circle around an anchor, as four curves: on logarithmic axes plotly accepts no corner left of the anchor. */
function circle(r) {
  const k = 0.5523 * r;
  const quarters = [
    [-r, k, -k, r, 0, r],
    [k, r, r, k, r, 0],
    [r, -k, k, -r, 0, -r],
    [-k, -r, -r, -k, -r, 0],
  ];
  return `M${-r},0 ${quarters.map((each) => `C${each.join(",")}`).join(" ")} Z`;
}

function isLimited({ name, split }, limit) {
  return name === limit.name && split !== "test" && limit.amount !== null;
}

function lineOf({ axis, type, unit, name }, { side, amount }, binding) {
  if (type === "log" && amount <= 0) return null;
  const other = axis === "x" ? "y" : "x";
  const along = { [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1 };
  const at = { [`${axis}0`]: amount, [`${axis}1`]: amount, ...along };
  const text = `${side === "maximum" ? "≤" : "≥"} ${number(amount, unit)}`;
  const bound = name === binding;
  const place = axis === "x" ? "end" : "start";
  const font = { size: 11, color: shade("text") };
  const label = { text: bound ? `${text} binds` : text, textposition: place, textangle: 0, font };
  return { type: "line", ...at, line: { color: VERMILION, width: bound ? 4 : 2, dash: "dash" }, label, layer: "above" };
}

function formatOf(unit) {
  return unit === "1" || unit === "nat" ? ":.4f" : ":.4s";
}

function solidSymbol(symbol = "circle") {
  // Three-dimensional charts have fewer symbols.
  if (symbol.startsWith("x")) return "x";
  return ["square", "diamond", "diamond-open"].includes(symbol) ? symbol : "circle";
}

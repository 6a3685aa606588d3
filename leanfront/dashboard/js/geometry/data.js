/** What an audit of the kind geometry found: samples under models (compressed or not) and ways (corrupted or not). */

import { get, path } from "../api.js";

const ARRAYS = ["positions", "labels", "measures", "predicted", "class_means", "occlusion"];
const BINS = 20;
/** How far the whiskers of a box plot reach, in heights of the box. */
const WHISKERS = 1.5;
export const UNITS = { angle: "degrees", norm: "", margin: "" };

/** A measure with its unit, as axes have it. */
export function titled(measure) {
  return UNITS[measure] ? `${measure}, ${UNITS[measure]}` : measure;
}

/** What an audit found, as the views ask for it. Models, ways, samples and measures are meant by their places. */
export class Findings {
  #edges = new Map();

  /**
   * Read an audit's arrays.
   * @param {string} search
   * @param {object} audit what `GET .../audits/geometry` answers
   */
  static async read(search, audit) {
    const names = ARRAYS.filter((name) => name in audit.document.arrays);
    const found = await Promise.all(names.map((name) => rows(search, name)));
    return new Findings(audit, Object.fromEntries(names.map((name, place) => [name, found[place]])));
  }

  constructor(audit, arrays) {
    const { document } = audit;
    Object.assign(this, { audit, document, arrays });
    const { models, ways, measures, classes } = document;
    this.models = models;
    this.names = models.map(({ name }) => String(name));
    this.criteria = [...new Set(models.map(({ criterion }) => String(criterion)))];
    this.ways = ways.map(({ corruption, severity }) => (corruption === null ? "clean" : `${corruption} ${severity}`));
    this.measures = measures;
    this.labels = arrays.labels;
    this.samples = this.labels.map((_, sample) => sample);
    /** The classes that are told apart, by label; others only where there are many. */
    this.classes = new Map(classes.map(({ label, name }) => [label, String(name)]));
    this.images = document.images ?? {};
  }

  /** Name of a class. */
  className(label) {
    return this.classes.get(label) ?? `class ${label}`;
  }

  /** Place of a class among those that are told apart, the number of these for any other. */
  classPlace(label) {
    const found = [...this.classes.keys()].indexOf(label);
    return found < 0 ? this.classes.size : found;
  }

  /** Values of a measure of all samples, null where there is none. */
  values(model, way, measure) {
    return this.arrays.measures[model][way][this.measures.indexOf(measure)];
  }

  /** The class that a model takes each sample for. */
  predicted(model, way) {
    return this.arrays.predicted[model][way];
  }

  /** Share of some samples that a model answers rightly; null of none. */
  accuracy(model, way, samples) {
    if (!samples.length) return null;
    const predicted = this.predicted(model, way);
    return samples.filter((sample) => predicted[sample] === this.labels[sample]).length / samples.length;
  }

  /** Mean of a measure for each class that is told apart, of all samples or of some; null where there is none. */
  classMeans(model, way, measure, samples = null) {
    if (samples === null) {
      const place = this.measures.indexOf(measure);
      return this.arrays.class_means[model][way].map((row) => row[place]);
    }
    const values = this.values(model, way, measure);
    return [...this.classes.keys()].map((label) =>
      mean(samples.filter((sample) => this.labels[sample] === label).map((sample) => values[sample])),
    );
  }

  /** Numbers of some samples between edges; what lies further out is in the first or the last bin. */
  histogram(model, way, measure, samples, edges) {
    const values = this.values(model, way, measure);
    const counts = Array(edges.length - 1).fill(0);
    const width = (edges.at(-1) - edges[0]) / counts.length;
    for (const sample of samples) {
      const value = values[sample];
      if (value === null) continue;
      const bin = Math.floor((value - edges[0]) / width);
      counts[Math.max(0, Math.min(counts.length - 1, bin))] += 1;
    }
    return counts;
  }

  /**
   * Edges of histograms of a measure under some models and ways. They reach as far as the whiskers of a box plot:
   * a model that is broken altogether has values that would put all others into one bin.
   */
  edges(measure, models, ways) {
    const key = JSON.stringify([measure, models, ways]);
    if (!this.#edges.has(key)) {
      const values = models.flatMap((model) => ways.flatMap((way) => this.values(model, way, measure)));
      this.#edges.set(key, edgesOf(values.filter((value) => value !== null).sort((x, y) => x - y)));
    }
    return this.#edges.get(key);
  }

  /**
   * Which samples a model takes for which class.
   * @returns {Array<Array<Array<number>>>} [true class][answer] -> samples; the last answer is any other class
   */
  confusion(model, way, samples) {
    const size = this.classes.size;
    const found = Array.from({ length: size }, () => Array.from({ length: size + 1 }, () => []));
    const predicted = this.predicted(model, way);
    for (const sample of samples) {
      const row = this.classPlace(this.labels[sample]);
      if (row < size) found[row][this.classPlace(predicted[sample])].push(sample);
    }
    return found;
  }

  /** What covering each patch changes: {height x width} of a measure, null where it was not looked at. */
  occlusion(model, sample, measure) {
    const own = this.document.occlusion;
    if (!this.arrays.occlusion || own.reason) return null;
    const [row, column] = [own.models.indexOf(model), own.samples.indexOf(sample)];
    if (row < 0 || column < 0) return null;
    return this.arrays.occlusion[row][column][this.measures.indexOf(measure)];
  }

  /** Selections that are worth a look: pairs of a text and samples. */
  lists(a, b, way) {
    const right = (model) => this.predicted(model, way).map((answer, sample) => answer === this.labels[sample]);
    const [first, second] = [right(a), right(b)];
    const found = [
      ["A right, B wrong", this.samples.filter((sample) => first[sample] && !second[sample])],
      ["A wrong, B right", this.samples.filter((sample) => !first[sample] && second[sample])],
      ["both wrong", this.samples.filter((sample) => !first[sample] && !second[sample])],
    ];
    for (const [name, own] of Object.entries(this.document.lists)) {
      const said = Number.isNaN(Number(name)) ? name : `ratio ${name}`;
      for (const side of ["fragile", "robust"]) {
        const shown = own[side].length < own[`n_${side}`] ? `first ${own[side].length} of ${own[`n_${side}`]} ` : "";
        found.push([`${shown}${side} samples, pruned: ${said}`, own[side].map(({ sample }) => sample)]);
      }
    }
    return found.filter(([, samples]) => samples.length);
  }
}

async function rows(search, name) {
  const found = [];
  let offset = 0;
  while (offset !== null) {
    const page = await get(path("searches", search, "audits", "geometry", "arrays", name), { offset, limit: 1000 });
    found.push(...page.rows);
    offset = page.next;
  }
  return found;
}

function edgesOf(sorted) {
  if (!sorted.length) sorted = [0];
  const [lower, upper] = [0.25, 0.75].map((share) => sorted[Math.floor(share * (sorted.length - 1))]);
  const reach = WHISKERS * (upper - lower);
  const low = Math.max(sorted[0], lower - reach);
  const high = Math.min(sorted.at(-1), upper + reach);
  const step = (high > low ? high - low : 1) / BINS;
  return Array.from({ length: BINS + 1 }, (_, edge) => low + edge * step);
}

/** The mean of what is not null; null of nothing. */
export function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** An audit of kind geometry: samples under models (compressed or not) and ways (corrupted or not). */

import { get, path } from "../api.js";

const ARRAYS = ["positions", "labels", "measures", "predicted", "class_means", "occlusion"];
const BINS = 20;
/** Length of a box plot's whiskers, in heights of the box. */
const WHISKERS = 1.5;
export const UNITS = { angle: "degrees", norm: "", margin: "" };

/** A measure with its unit, for axes. */
export function titled(measure) {
  return UNITS[measure] ? `${measure}, ${UNITS[measure]}` : measure;
}

/** Access to the audit's data. Models, ways, samples and measures are given by index. */
export class Findings {
  #edges = new Map();

  /**
   * Read an audit's arrays.
   * @param {string} search
   * @param {object} audit answer of `GET .../audits/geometry`
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
    /** Labels of the classes that are distinguished; if there are many, the rest are "others". */
    this.classes = new Map(classes.map(({ label, name }) => [label, String(name)]));
    this.images = document.images ?? {};
  }

  /** Name of a class. */
  className(label) {
    return this.classes.get(label) ?? `class ${label}`;
  }

  /** Index of a class among the distinguished ones; their number for any other class. */
  classPlace(label) {
    const found = [...this.classes.keys()].indexOf(label);
    return found < 0 ? this.classes.size : found;
  }

  /** Values of a measure for all samples, null where missing. */
  values(model, way, measure) {
    return this.arrays.measures[model][way][this.measures.indexOf(measure)];
  }

  /** The class that a model predicts for each sample. */
  predicted(model, way) {
    return this.arrays.predicted[model][way];
  }

  /** Share of some samples that a model classifies correctly; null without samples. */
  accuracy(model, way, samples) {
    if (!samples.length) return null;
    const predicted = this.predicted(model, way);
    return samples.filter((sample) => predicted[sample] === this.labels[sample]).length / samples.length;
  }

  /** Mean of a measure by distinguished class, over all samples or some; null where missing. */
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

  /** Histogram counts of some samples between edges; values further out count in the first or last bin. */
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
   * Histogram edges of a measure under some models and ways, as far as the whiskers of a box plot: the values of a
   * broken model would put all others into one bin.
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
   * Samples by true class and prediction.
   * @returns {Array<Array<Array<number>>>} [true class][prediction] -> samples; the last prediction is any other class
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

  /** Effect of covering each patch: {height x width} of a measure, null if not measured. */
  occlusion(model, sample, measure) {
    const own = this.document.occlusion;
    if (!this.arrays.occlusion || own.reason) return null;
    const [row, column] = [own.models.indexOf(model), own.samples.indexOf(sample)];
    if (row < 0 || column < 0) return null;
    return this.arrays.occlusion[row][column][this.measures.indexOf(measure)];
  }

  /** Suggested selections: pairs of a text and samples. */
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

/** Mean of the values that are not null; null without any. */
export function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

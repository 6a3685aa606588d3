/** The selection shared by all views: two models, a corruption, a measure, samples. It is kept in the address. */

import { onReturn, read, write } from "../state.js";

const CHANGED = "changed";

/** The selection of the page; views listen to its changes. */
export class Selection extends EventTarget {
  /** @param {Findings} findings audit whose models, corruptions and samples can be chosen */
  constructor(findings) {
    super();
    this.findings = findings;
    /** Which of the two models a click sets. */
    this.slot = "b";
    this.load();
    onReturn(() => {
      this.load();
      this.#tell();
    });
  }

  /** Read the selection from the address, ignoring unknown values. */
  load() {
    const { names, ways, measures, labels, classes } = this.findings;
    const found = (list, name, otherwise) => (list.includes(read(name)) ? list.indexOf(read(name)) : otherwise);
    this.a = found(names, "a", 0);
    this.b = found(names, "b", Math.min(names.length - 1, 1));
    this.way = found(ways, "way", 0);
    this.measure = measures[found(measures, "measure", Math.max(0, measures.indexOf("margin")))];
    this.classes = numbers(read("classes"), (label) => classes.has(label));
    this.samples = numbers(read("samples"), (sample) => sample < labels.length);
  }

  /**
   * Change the selection.
   * @param {object} changes any of a, b, way, measure, classes and samples; null means all classes or samples
   */
  set(changes) {
    Object.assign(this, changes);
    const { names, ways } = this.findings;
    const own = {
      a: names[this.a],
      b: names[this.b],
      way: ways[this.way],
      measure: this.measure,
      classes: this.classes?.join(","),
      samples: this.samples?.join(","),
    };
    // An empty selection is also a selection.
    for (const name of ["classes", "samples"]) if (own[name] === "") own[name] = "none";
    write(own, { push: true });
    this.#tell();
  }

  /** Set the model that clicks choose, and other parts of the selection. */
  pick(model, changes = {}) {
    this.set({ [this.slot]: model, ...changes });
  }

  /** Add or remove a class. */
  toggleClass(label) {
    const others = (this.classes ?? []).filter((each) => each !== label);
    const after = this.classes?.includes(label) ? others : [...others, label].sort((x, y) => x - y);
    this.set({ classes: after.length ? after : null });
  }

  /** Whether some samples are not selected. */
  get narrowed() {
    return this.classes !== null || this.samples !== null;
  }

  /** The selected samples of the selected classes. */
  get chosen() {
    const own = this.samples ?? this.findings.samples;
    return this.classes === null ? own : own.filter((sample) => this.classes.includes(this.findings.labels[sample]));
  }

  /** Call a function now and after every change. */
  follow(work) {
    this.addEventListener(CHANGED, work);
    return work();
  }

  #tell() {
    this.dispatchEvent(new Event(CHANGED));
  }
}

function numbers(text, known) {
  if (!text) return null;
  const found = (text.match(/\d+/g) ?? []).map(Number).filter(known);
  return [...new Set(found)].sort((x, y) => x - y);
}

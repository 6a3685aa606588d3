/** Choice of the chart's axes. */

import { fill, h } from "../dom.js";
import { button, field, select } from "../ui.js";
import { defaultScale } from "./chart.js";
import { keepingFocus } from "./focus.js";
import { named } from "./table.js";
import { AXES } from "./view.js";

const LABELS = { x: "Across", y: "Up", z: "Into depth" };

/** Lists of measurements and scales; `changed` is called after a change of the view. */
export class Axes {
  constructor(data, changed) {
    Object.assign(this, { data, changed });
    this.element = h("div", { class: "row axes" });
  }

  /** Show the values of a view. */
  show(view) {
    const axes = AXES.slice(0, view.solid ? 3 : 2);
    keepingFocus(() => fill(this.element, axes.map((axis) => this.#axis(view, axis)), this.#solid(view)));
  }

  #axis(view, axis) {
    const { names, columns } = this.data;
    const options = [...new Set([...columns.objectives, ...names, view[axis]])].map((key) => [key, named(key)]);
    const chosen = select(options, view[axis], (key) => {
      view[axis] = key;
      view.scale[axis] = null;
      this.changed();
    }, { id: `axis-${axis}` });
    const type = view.scale[axis] ?? defaultScale(columns.columns.get(view[axis])?.split);
    const log = button("log", () => {
      const other = type === "log" ? "linear" : "log";
      view.scale[axis] = other === defaultScale(columns.columns.get(view[axis])?.split) ? null : other;
      this.changed();
    });
    log.id = `scale-${axis}`;
    log.setAttribute("aria-pressed", String(type === "log"));
    log.setAttribute("aria-label", `log: ${LABELS[axis].toLowerCase()}`);
    return h("div", { class: "axis" }, field(LABELS[axis], chosen), log);
  }

  #solid(view) {
    return button("3-D", () => {
      view.solid = !view.solid;
      this.changed();
    }, { id: "solid", "aria-pressed": String(view.solid) });
  }
}

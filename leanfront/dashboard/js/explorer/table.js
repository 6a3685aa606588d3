/** The frontier within the limits as a table, for users who cannot see the chart or use a pointer. */

import { fill, h } from "../dom.js";
import { interval, label } from "../format.js";
import { button, empty, table } from "../ui.js";
import { limits } from "./view.js";

const FIRST = 25;

/** The table; `pick` is called with a chosen candidate. */
export class Members {
  constructor(columns, pick) {
    Object.assign(this, { columns, pick, whole: false });
    this.element = h("div");
  }

  /** Show the members of a view. */
  show(view) {
    const { columns } = this;
    const found = columns.members(view.stage, limits(view));
    const shown = this.whole ? found : found.slice(0, FIRST);
    const keys = [...new Set([...columns.objectives, view.x, view.y, ...(view.solid ? [view.z] : [])])];
    if (!found.length) return fill(this.element, empty("No frontier member is within the limits."));
    const rows = shown.map((place) => {
      const id = columns.ids[place];
      const choose = button(String(id), () => this.pick(id), {
        "aria-pressed": String(id === view.candidate),
        "aria-label": `Candidate ${id}`,
        dataset: { candidate: id },
      });
      const values = keys.map((key) => {
        const own = columns.measurement(place, key);
        return { text: interval(own), sort: own?.value ?? Infinity };
      });
      const parent = columns.parents[place];
      return [{ text: choose, sort: id }, ...values, parent === null ? "" : `from ${parent}`];
    });
    const part = shown.length < found.length ? `; the first ${shown.length} are shown` : "";
    const recovered = columns.recovered ? ["recovered"] : [];
    const made = table({
      caption: `${found.length} frontier members are within the limits${part}`,
      header: ["candidate", ...keys.map(named), ...recovered],
      rows: recovered.length ? rows : rows.map((row) => row.slice(0, -1)),
      sortable: true,
    });
    const more = button(`Show all ${found.length}`, () => {
      this.whole = true;
      this.show(view);
    });
    return fill(this.element, made, shown.length < found.length ? more : null);
  }
}

/** Label of a column. */
export function named(key) {
  const [name, split] = key.split(":");
  return split ? `${label(name)} on ${split}` : label(name);
}

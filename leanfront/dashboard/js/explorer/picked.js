/** The picked candidate. */

import { get, path } from "../api.js";
import { fill, h } from "../dom.js";
import { button, empty, failure, say } from "../ui.js";
import { card } from "./card.js";

const HELP = "Click a point of the chart, or choose one in the table below.";

/** Its card; `away` is called when it is dismissed. */
export class Picked {
  constructor(data, away) {
    Object.assign(this, { data, away, id: null });
    this.element = h("div", {}, h("p", { class: "note" }, HELP));
  }

  /** Show a candidate, or none. */
  async show(id) {
    if (id === this.id) return;
    this.id = id;
    if (id === null) {
      fill(this.element, h("p", { class: "note" }, HELP));
      return;
    }
    try {
      const candidate = await get(path("candidates", id));
      if (id !== this.id) return;
      const { name, columns, dense } = this.data;
      const away = button("Let go", () => this.away(id));
      const own = candidate.search === name;
      const shown = own ? card(candidate, columns.objectives, dense, away) : empty(`${id} is of another search.`, away);
      fill(this.element, shown);
      say(`Candidate ${id} is picked.`);
    } catch (error) {
      fill(this.element, failure(error));
    }
  }
}

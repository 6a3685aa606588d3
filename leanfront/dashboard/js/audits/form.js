/** Options of audits, built from the OpenAPI document with its defaults. */

import { openapi } from "../api.js";
import { control, isDefault } from "../controls.js";
import { h } from "../dom.js";

/**
 * The options of several kinds.
 * @param {Array<string>} kinds
 * @param {boolean} single whether the audits are of one candidate
 * @returns {Promise<{element: Element, values: function(): object|null}>} `values` returns what differs from the
 *   defaults, or null if a value is invalid
 */
export async function form(kinds, single) {
  const { schemas } = (await openapi()).components;
  const { properties } = schemas[single ? "AuditRequest" : "SearchAuditRequest"];
  // An option names the kinds that read it; one without kinds is for all.
  const read = ({ "x-kinds": own }) => own === undefined || kinds.some((kind) => own.includes(kind));
  const controls = Object.entries(properties)
    .filter(([name, schema]) => name !== "kinds" && read(schema))
    .map(([name, schema]) => [name, control(name, schema)]);
  const element = h("form", { class: "options", on: { submit: (event) => event.preventDefault() } });
  element.append(...controls.map(([, each]) => each.element));
  return {
    element,
    values() {
      if (!element.reportValidity()) return null;
      const found = controls.map(([name, each]) => [name, each.value()]);
      return Object.fromEntries(found.filter(([name, value]) => !isDefault(value, properties[name])));
    },
  };
}

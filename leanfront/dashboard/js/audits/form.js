/** Options of audits, built from the OpenAPI document with its defaults. */

import { openapi } from "../api.js";
import { control, isDefault } from "../controls.js";
import { h } from "../dom.js";

const ALL = ["candidates", "levels", "split"];
const COMPARED = ["population", "models"];
const CORRUPTED = ["samples", "corruptions", "severities"];
/** Kind -> the options it uses besides the common ones. */
const OWN = {
  classes: COMPARED,
  exemplars: [...COMPARED, "gallery"],
  robustness: CORRUPTED,
  limits: ["criterion", "method", "samples", "corruptions"],
  bounds: ["samples"],
  geometry: ["criteria", ...CORRUPTED],
};

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
  const names = new Set([...ALL, ...kinds.flatMap((kind) => OWN[kind] ?? [])]);
  const known = [...names].filter((name) => name in properties);
  const controls = known.map((name) => [name, control(name, properties[name])]);
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

/** Options of audits. */

import { openapi } from "../api.js";
import { optionsForm } from "../options.js";

/**
 * The options of several kinds; see `optionsForm`.
 * @param {Array<string>} kinds
 * @param {boolean} single whether the audits are of one candidate
 */
export async function form(kinds, single) {
  const { schemas } = (await openapi()).components;
  const { properties } = schemas[single ? "AuditRequest" : "SearchAuditRequest"];
  // An option names the kinds that read it; one without kinds is for all.
  const read = ({ "x-kinds": own }) => own === undefined || kinds.some((kind) => own.includes(kind));
  return optionsForm(
    Object.fromEntries(Object.entries(properties).filter(([name, schema]) => name !== "kinds" && read(schema))),
  );
}

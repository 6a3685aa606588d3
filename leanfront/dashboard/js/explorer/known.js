/** What there is besides the candidates: measurements to choose, strategies, bounds. */

import { get, openapi, path } from "../api.js";

/** Columns that a search has, by what is measured of its dense model and of some of its frontier. */
export async function measured(name, dense) {
  const page = await get(path("searches", name, "frontier"), { limit: 30 });
  const found = [...dense, ...page.candidates.flatMap((each) => each.measurements)];
  const key = ({ name: own, split }) => (!split || split === "validation" ? own : `${own}:${split}`);
  return [...new Set(found.map(key))];
}

/** Names of the costs among what the dense model has measured. */
export function costsOf(dense) {
  return dense.filter(({ split }) => !split).map(({ name }) => name);
}

/** Names of the strategies, as the API's own document lists them. */
export async function strategies() {
  const { parameters } = (await openapi()).paths["/api/v1/searches/{name}/select"].get;
  return parameters.find(({ name }) => name === "strategy").schema.enum;
}

/** Candidate's id -> bytes that no order-0 code of it goes below, by the last audit of bounds. */
export async function bounds(name) {
  const where = path("searches", name, "audits");
  const audits = await get(where);
  // What is not there is not asked for.
  if (!audits.some(({ kind }) => kind === "bounds")) return new Map();
  const { document } = await get(`${where}/bounds`);
  const known = document.versions.filter(({ candidate }) => candidate !== null);
  return new Map(known.map((each) => [each.candidate, each.bound_bytes]));
}

/** What a search has besides candidates: measurements, strategies, bounds. */

import { get, openapi, path } from "../api.js";

/** Columns of a search, from the measurements of its dense model and of some frontier members. */
export async function measured(name, dense) {
  const page = await get(path("searches", name, "frontier"), { limit: 30 });
  const found = [...dense, ...page.candidates.flatMap((each) => each.measurements)];
  const key = ({ name: own, split }) => (!split || split === "validation" ? own : `${own}:${split}`);
  return [...new Set(found.map(key))];
}

/** Names of the costs among the dense model's measurements. */
export function costsOf(dense) {
  return dense.filter(({ split }) => !split).map(({ name }) => name);
}

/** Names of the strategies, from the OpenAPI document. */
export async function strategies() {
  const { parameters } = (await openapi()).paths["/api/v1/searches/{name}/select"].get;
  return parameters.find(({ name }) => name === "strategy").schema.enum;
}

/** Candidate id -> lower bound in bytes of any order-0 code, from the latest audit of bounds. */
export async function bounds(name) {
  const where = path("searches", name, "audits");
  const audits = await get(where);
  // Do not request what does not exist.
  if (!audits.some(({ kind }) => kind === "bounds")) return new Map();
  const { document } = await get(`${where}/bounds`);
  const known = document.versions.filter(({ candidate }) => candidate !== null);
  return new Map(known.map((each) => [each.candidate, each.bound_bytes]));
}

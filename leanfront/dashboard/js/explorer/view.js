/** The view of a frontier, stored in the page's address so that links show the same. */

import { parse } from "../format.js";
import { family, read, write } from "../state.js";

export const AXES = ["x", "y", "z"];
const SIDES = { maximum: "max_", minimum: "min_" };
const DEFAULTS = { strategy: "accuracy", stage: "after" };

/**
 * Read the view from the address.
 * @returns {object} `x`, `y`, `z` columns or null; `scale` axis -> "log", "linear" or null; `solid` whether 3-D;
 *   `maximum`, `minimum` measurement -> limit as it was written; `sliders` measurements or null; `strategy`, `stage`,
 *   `order`, `weights`; `candidate` id or null; `axes` of the parallel coordinates or null; `parallel`, `knee`
 */
export function restored() {
  const id = Number(read("candidate"));
  return {
    ...Object.fromEntries(AXES.map((axis) => [axis, read(axis)])),
    scale: Object.fromEntries(AXES.map((axis) => [axis, read(`${axis}scale`)])),
    solid: read("view") === "3d",
    ...Object.fromEntries(Object.entries(SIDES).map(([side, start]) => [side, family(start)])),
    sliders: read("sliders")?.split(",") ?? null,
    strategy: read("strategy", DEFAULTS.strategy),
    stage: read("stage") === "before" ? "before" : "after",
    order: read("order"),
    weights: family("weight_"),
    candidate: Number.isSafeInteger(id) && id > 0 ? id : null,
    axes: read("axes")?.split(",") ?? null,
    parallel: read("parallel") === "1",
    knee: read("knee") === "1",
  };
}

/** Write a view to the address. */
export function kept(view, { push = false } = {}) {
  const now = new URLSearchParams(location.search);
  const changes = {};
  for (const name of now.keys()) if (/^(max|min|weight)_/.test(name)) changes[name] = null;
  Object.assign(changes, budget(view), {
    ...Object.fromEntries(AXES.map((axis) => [axis, view[axis]])),
    ...Object.fromEntries(AXES.map((axis) => [`${axis}scale`, view.scale[axis]])),
    view: view.solid ? "3d" : null,
    sliders: view.sliders?.join(","),
    strategy: view.strategy === DEFAULTS.strategy ? null : view.strategy,
    stage: view.stage === DEFAULTS.stage ? null : view.stage,
    order: view.order,
    ...prefixed("weight_", view.weights),
    candidate: view.candidate,
    axes: view.axes?.join(","),
    parallel: view.parallel ? "1" : null,
    knee: view.knee ? "1" : null,
  });
  write(changes, { push });
}

/** The limits as query parameters: `max_memory_bytes` and so on. */
export function budget(view) {
  return { ...prefixed(SIDES.maximum, view.maximum), ...prefixed(SIDES.minimum, view.minimum) };
}

/** All query parameters of `GET /searches/NAME/select`. */
export function question(view) {
  return {
    ...budget(view),
    strategy: view.strategy,
    stage: view.stage,
    ...(view.strategy === "lexicographic" ? { order: view.order } : {}),
    ...(view.strategy === "chebyshev" ? prefixed("weight_", view.weights) : {}),
  };
}

/** All limits: `{side, name, text, amount}`; `amount` is null if the text is not a number. */
export function limits(view) {
  return Object.keys(SIDES).flatMap((side) =>
    Object.entries(view[side]).map(([name, text]) => ({ side, name, text, amount: amount(text) })),
  );
}

/** A limit as a number, or null. */
export function amount(text) {
  const read = parse(text);
  if (read !== null) return read;
  const plain = text?.trim() ? Number(text) : NaN;
  return Number.isFinite(plain) ? plain : null;
}

function prefixed(start, values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${start}${name}`, value]));
}

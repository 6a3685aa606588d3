/** The frontier members next to a candidate, in words: what slightly more or less of a cost would change. */

import { get, path } from "../api.js";
import { h } from "../dom.js";
import { label, number } from "../format.js";
import { link } from "../shell.js";
import { empty } from "../ui.js";
import { points } from "./measured.js";

/** Units of costs come from the candidate's measurements. */
export async function neighbours(candidate) {
  const found = await get(path("candidates", candidate.id, "neighbours"));
  const units = new Map(candidate.measurements.filter((each) => !each.split).map((each) => [each.name, each.unit]));
  const steps = [
    ...Object.entries(found.better).map(([cost, step]) => ({ cost, step, better: true })),
    ...Object.entries(found.cheaper).map(([cost, step]) => ({ cost, step, better: false })),
  ].filter(({ step }) => step !== null);
  if (!steps.length) return empty("The frontier has no member next to this one.");
  return h(
    "ul",
    { class: "plain-list neighbours" },
    steps.map(({ cost, step, better }) =>
      h(
        "li",
        {},
        `${sentence(cost, step, units.get(cost) ?? "", better)}: `,
        h("a", { href: link("candidates", step.candidate.id) }, `candidate ${step.candidate.id}`),
      ),
    ),
  );
}

/** "+0.4 points for 9 KB more memory", "9 KB less memory for 0.1 points". */
export function sentence(cost, { accuracy, cost: change }, unit, better) {
  const gained = points(accuracy);
  const accurate =
    gained === "0" ? "the same accuracy" : `${gained} ${gained === "+1" || gained === "−1" ? "point" : "points"}`;
  const amount = `${number(Math.abs(change), unit)} ${change > 0 ? "more" : "less"} ${label(cost)}`;
  if (better)
    return change > 0
      ? `${accurate} for ${amount}`
      : `${accurate} and ${change === 0 ? `no more ${label(cost)}` : amount}`;
  if (accuracy < 0 && gained !== "0") return `${amount} for ${accurate.slice(1)}`;
  return `${amount} and ${accurate}`;
}

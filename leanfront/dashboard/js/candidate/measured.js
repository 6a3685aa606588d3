/** A candidate's measurements beside the dense model's, and whether they hold in its file. */

import { get, path, post } from "../api.js";
import { h } from "../dom.js";
import { interval, isOfRecovery, label, moment, number, ratio, signed, significant } from "../format.js";
import { facts, panel, table } from "../ui.js";
import { order } from "./order.js";

/** "+0.4 points" for shares; otherwise the difference in its unit. */
export function difference(value, other, unit) {
  if (value === null || other === null || value === undefined || other === undefined) return "–";
  if (unit !== "1") return signed(value - other, unit);
  return `${points(value - other)} points`;
}

/** A share as percentage points, with its sign. */
export function points(share) {
  const said = significant(Math.abs(100 * share));
  if (Number(said) === 0) return "0";
  return `${share > 0 ? "+" : "−"}${said}`;
}

/**
 * The tables of a candidate's measurements: costs, each split, and its recovery.
 * @param {object} candidate
 * @param {Array<object>} dense measurements of the dense model
 * @param {object|null} verification
 */
export function measured(candidate, dense, verification) {
  const reference = new Map(dense.map((each) => [keyOf(each), each]));
  const own = candidate.measurements;
  const splits = [...new Set(own.map((each) => each.split).filter(Boolean))];
  const costs = own.filter((each) => !each.split && !isOfRecovery(each.name));
  const recovery = own.filter((each) => !each.split && isOfRecovery(each.name));
  const parts = [
    ["Costs", costs],
    ...splits.map((split) => [`On the ${split} split`, own.filter((each) => each.split === split)]),
  ];
  return [
    ...parts
      .filter(([, rows]) => rows.length)
      .map(([caption, rows]) => tableOf(caption, rows, reference, verification)),
    recovery.length
      ? table({
          caption: "Its recovery",
          header: ["Measurement", "Value"],
          rows: recovery.map((each) => [label(each.name), interval(each)]),
        })
      : null,
  ];
}

function tableOf(caption, rows, reference, verification) {
  const exact = rows.every((each) => !each.split);
  return table({
    caption,
    header: [
      "Measurement",
      exact ? "Value" : "Value (95% interval)",
      "Dense",
      "Against dense",
      ...(exact ? [] : ["Samples"]),
      "In its file",
    ],
    rows: rows.map((each) => {
      const dense = reference.get(keyOf(each))?.value ?? null;
      const against = each.split ? difference(each.value, dense, each.unit) : ratio(each.value, dense) || "–";
      return [
        label(each.name),
        interval(each),
        number(dense, each.unit),
        against,
        ...(exact ? [] : [each.count === null ? "–" : String(each.count)]),
        mark(each, verification),
      ];
    }),
  });
}

function keyOf({ name, split }) {
  return `${name} ${split ?? ""}`;
}

/** Whether a measurement was verified; not shown by colour alone. */
function mark(measurement, verification) {
  if (verification === null) return "not verified";
  const claim = verification.claims.find(
    (each) => each.name === measurement.name && (each.split ?? null) === (measurement.split ?? null),
  );
  if (claim)
    return claim.ok
      ? h("span", { class: "good" }, "✓ found again")
      : h("span", { class: "wrong" }, `✗ found ${said(claim.found, claim.unit)}`);
  const { name, split } = measurement;
  const why = verification.unchecked[split ? `${name} (${split})` : name];
  return h("span", { title: why ?? null }, "not checked");
}

function said(value, unit) {
  if (value === null) return "nothing";
  return typeof value === "number" ? number(value, unit) : String(value);
}

/**
 * The result of verifying a candidate, and the button that queues a verification.
 * @param {object} candidate
 * @param {object|null} verification
 * @param {function(): Promise<void>} again called after a new verification
 */
export function verified(candidate, verification, again) {
  const queue = () => post(path("candidates", candidate.id, "verify"));
  const action =
    candidate.state === "failed"
      ? null
      : h("p", {}, order(verification ? "Verify again" : "Verify now", "verify", queue, again));
  if (verification === null && candidate.state === "failed") return null;
  if (verification === null) {
    const none =
      "This candidate has not been verified yet: a worker can check all of these figures against its file alone.";
    return panel("Verification", { class: "verification" }, h("p", {}, none), action);
  }
  const wrong = verification.claims.filter((each) => !each.ok).length;
  const all = verification.claims.length;
  const unchecked = Object.entries(verification.unchecked);
  return panel(
    "Verification",
    { class: "verification" },
    h(
      "p",
      { class: verification.ok ? "good" : "wrong" },
      verification.ok
        ? `✓ All ${all} claims hold in its file.`
        : `✗ ${wrong} of ${all} claims do not hold.`,
    ),
    facts([["verified", `${moment(verification.created)}, by leanfront ${verification.release}`]]),
    h(
      "details",
      { open: !verification.ok },
      h("summary", {}, `Its ${all} claims`),
      table({
        caption: "Claims and values found",
        header: ["Claim", "Claimed", "Found", "Tolerance", "Holds"],
        rows: verification.claims.map((each) => [
          each.split ? `${label(each.name)} (${each.split})` : label(each.name),
          exactly(each.claimed, each.unit),
          exactly(each.found, each.unit),
          each.tolerance ? String(each.tolerance) : "nothing",
          each.ok ? h("span", { class: "good" }, "✓ yes") : h("span", { class: "wrong" }, "✗ no"),
        ]),
      }),
    ),
    unchecked.length
      ? h(
          "details",
          {},
          h("summary", {}, `${unchecked.length} not checked`),
          h(
            "ul",
            {},
            unchecked.map(([what, why]) => h("li", {}, `${what}: ${why}`)),
          ),
        )
      : null,
    action,
  );
}

function exactly(value, unit) {
  if (typeof value === "string" && value.length > 20) return h("code", { title: value }, `${value.slice(0, 12)}…`);
  return said(value, unit);
}

/** The candidate's verification; null if there is none. */
export async function verificationOf(candidate) {
  // A request for a missing one would be logged as an error by the browser.
  return candidate.verified === null ? null : get(path("candidates", candidate.id, "verification"));
}

/** Measurements of several candidates; the best of each row is marked if the others are clearly worse. */

import { h } from "../dom.js";
import { interval, isOfRecovery, label, smallerIsBetter } from "../format.js";
import { empty, table } from "../ui.js";

/**
 * Find the best of several values.
 * @param {object} row row of GET /compare: `value`, `low` and `high` in the order of the candidates
 * @returns {{best: number|null, close: Array<number>}} index of the best value, or null; and indices of values with
 *   overlapping intervals, or equal to the best
 */
function bestOf(row) {
  const known = row.value.map((value, place) => ({ value, place })).filter(({ value }) => value !== null);
  if (known.length < 2) return { best: null, close: [] };
  const sign = smallerIsBetter(row.name, row.split) ? 1 : -1;
  const first = known.reduce((best, each) => (sign * each.value < sign * best.value ? each : best));
  const [low, high] = ends(row, first.place);
  const close = known
    .filter(({ place }) => place !== first.place)
    .filter(({ place }) => {
      const [otherLow, otherHigh] = ends(row, place);
      return otherLow <= high && low <= otherHigh;
    });
  if (close.length) return { best: null, close: [first.place, ...close.map(({ place }) => place)] };
  return { best: first.place, close: [] };
}

function ends(row, place) {
  const value = row.value[place];
  return [row.low[place] ?? value, row.high[place] ?? value];
}

/**
 * The tables of measurements: costs, and each split.
 * @param {object} found answer of GET /compare
 * @param {boolean} marked whether to mark the best; only for candidates of one target
 */
export function measured(found, marked) {
  const rows = found.measurements.filter((row) => !isOfRecovery(row.name));
  const splits = [...new Set(rows.map((row) => row.split))];
  return [
    ...splits.map((split) =>
      table({
        caption: split === null ? "Costs" : `On the ${split} split (95% intervals)`,
        header: ["Measurement", ...found.ids.map((id) => `candidate ${id}`)],
        rows: rows.filter((row) => row.split === split).map((row) => cells(row, marked)),
      }),
    ),
    h(
      "p",
      { class: "note" },
      marked
        ? "★ marks the best; ≈ means that none stands out, since their intervals overlap or they are " +
            "equal. Metrics without an interval are not marked."
        : "The candidates belong to different models or data: none is marked as the best.",
    ),
  ];
}

/** Costs are exact; for values from samples, only an interval shows whether a difference is significant. */
function isSure(row) {
  return row.split === null || row.value.every((value, place) => value === null || row.low[place] !== null);
}

function cells(row, marked) {
  const { best, close } = marked && isSure(row) ? bestOf(row) : { best: null, close: [] };
  return [
    label(row.name),
    ...row.value.map((value, place) => {
      const text = interval(
        value === null ? null : { value, low: row.low[place], high: row.high[place], unit: row.unit },
      );
      if (place === best) return h("strong", { class: "best" }, "★ ", text, h("span", { class: "unseen" }, " best"));
      return close.includes(place) ? ["≈ ", text] : text;
    }),
  ];
}

/** Differences between the configurations. */
export function choices(found) {
  if (!found.choices.length) return empty("Their configurations are the same.");
  return table({
    caption: "Where their configurations differ",
    header: ["Choice", "Of", ...found.ids.map((id) => `candidate ${id}`)],
    rows: found.choices.map((row) => [label(row.choice), row.of ?? "–", ...row.values.map(said)]),
  });
}

function said(value) {
  if (value === null) return "unchanged";
  if (Array.isArray(value)) return value.length ? value.map((each) => said(each)).join("; ") : "none";
  return typeof value === "object"
    ? Object.entries(value)
        .map(([key, each]) => `${key} ${each}`)
        .join(", ")
    : String(value);
}

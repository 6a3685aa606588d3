/** Downloads: the frontier within the limits, all candidates, and the chart. */

import { pages, path } from "../api.js";
import { h } from "../dom.js";
import { behind, button, save } from "../ui.js";
import { budget } from "./view.js";

/** Largest number of columns per request. */
const MOST_COLUMNS = 32;

/**
 * Buttons that save files.
 * @param {object} data `name`, and `names` of the measurements
 * @param {function(): object} view
 * @param {function(string): Promise<void>} picture saves the chart
 */
export function downloads(data, view, picture) {
  const stem = data.name.replace(/[^\w.-]+/g, "-");
  const frontier = async () => members(data.name, { ...budget(view()), stage: view().stage });
  const works = [
    ["Frontier within the limits, CSV", async () => save(csv(await frontier()), `${stem}-frontier.csv`)],
    ["Frontier within the limits, JSON", async () => save(json(await frontier()), `${stem}-frontier.json`)],
    ["All candidates, CSV", async () => save(csvOfColumns(await all(data)), `${stem}-candidates.csv`)],
    ["All candidates, JSON", async () => save(json(await all(data)), `${stem}-candidates.json`)],
    ["Chart, PNG", () => picture(stem)],
  ];
  const buttons = works.map(([text, work]) => {
    const made = button(text, () => behind(made, work));
    return made;
  });
  return h("div", { class: "actions" }, buttons);
}

/** All members of a frontier, as the API returns them. */
export async function members(name, parameters, most = Infinity) {
  const found = [];
  const where = path("searches", name, "frontier");
  for await (const page of pages(where, { ...parameters, limit: Math.min(1000, most) })) {
    found.push(...page.candidates);
    if (found.length >= most) break;
  }
  return found.slice(0, most);
}

async function all({ name, names }) {
  let whole = null;
  const columns = names.slice(0, MOST_COLUMNS).join(",");
  for await (const page of pages(path("searches", name, "candidates"), { columns, limit: 10_000 })) {
    if (whole === null) whole = page;
    else join(whole, page);
  }
  delete whole.next;
  return whole;
}

function join(whole, page) {
  for (const list of ["ids", "trials", "states", "on_frontier", "parents"]) whole[list].push(...page[list]);
  for (const [key, column] of Object.entries(page.columns)) {
    for (const list of ["value", "low", "high"]) whole.columns[key][list].push(...column[list]);
  }
}

function json(found) {
  return new Blob([`${JSON.stringify(found, null, 1)}\n`], { type: "application/json" });
}

function csv(candidates) {
  const heads = new Map();
  const rows = candidates.map((each) => {
    const row = { id: each.id, trial: each.trial, parent: each.parent, verified: each.verified };
    for (const { name, split, value, low, high } of each.measurements) {
      const own = split && split !== "validation" ? `${name}:${split}` : name;
      row[own] = value;
      if (low !== null) Object.assign(row, { [`${own}_low`]: low, [`${own}_high`]: high });
    }
    row.configuration = JSON.stringify(each.configuration);
    for (const name of Object.keys(row)) heads.set(name, true);
    return row;
  });
  const names = [...heads.keys()];
  return lines([names, ...rows.map((row) => names.map((name) => row[name]))]);
}

function csvOfColumns(page) {
  const columns = Object.entries(page.columns).flatMap(([key, { value, low, high }]) => {
    const ends = low.some((each) => each !== null) ? [[`${key}_low`, low], [`${key}_high`, high]] : [];
    return [[key, value], ...ends];
  });
  const lists = [
    ["id", page.ids],
    ["trial", page.trials],
    ["state", page.states],
    ["on_frontier", page.on_frontier],
    ["parent", page.parents],
    ...columns,
  ];
  return lines([lists.map(([name]) => name), ...page.ids.map((_, place) => lists.map(([, list]) => list[place]))]);
}

function lines(rows) {
  return new Blob([rows.map((row) => `${row.map(cell).join(",")}\n`).join("")], { type: "text/csv" });
}

function cell(value) {
  const text = String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

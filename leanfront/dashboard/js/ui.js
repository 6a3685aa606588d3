/** Building blocks of pages: panels, tables, buttons, fields, and waiting and error displays. */

import { Problem } from "./api.js";
import { add, fill, h, unique } from "./dom.js";

/** A button. */
export function button(text, click, properties = {}) {
  return h("button", { type: "button", on: { click }, ...properties }, text);
}

/** A labelled control with an optional help text. */
export function field(text, control, help = "") {
  control.id ||= unique("field");
  const said = help ? h("small", { id: unique("help") }, help) : null;
  if (said) control.setAttribute("aria-describedby", said.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, text), control, said);
}

/** A check box followed by its label. */
export function check(text, checked, change) {
  const box = h("input", { type: "checkbox", id: unique("check"), checked });
  box.addEventListener("change", () => change(box.checked));
  return h("label", { class: "check", for: box.id }, box, " ", text);
}

/**
 * A list to choose from.
 * @param {Array<string|[string, string]>} options values, or pairs of value and text
 */
export function select(options, value, change, properties = {}) {
  const control = h(
    "select",
    { ...properties, on: { change: () => change(control.value) } },
    options.map((each) => {
      const [own, text] = Array.isArray(each) ? each : [each, each];
      return h("option", { value: own, selected: own === value }, text);
    }),
  );
  return control;
}

/** A titled part of a page; `id` is its link target. */
export function panel(title, properties = {}, ...children) {
  const heading = h("h2", { id: unique("title") }, title);
  const { class: kind = "", ...rest } = properties;
  return h("section", { class: `panel ${kind}`.trim(), "aria-labelledby": heading.id, ...rest }, heading, children);
}

/** Placeholder while loading. */
export function loading(text = "Loading") {
  return h("p", { class: "loading", role: "status", "aria-busy": "true" }, text, "…");
}

/** Placeholder for missing content, with what to do about it. */
export function empty(text, ...more) {
  return h("div", { class: "empty" }, h("p", {}, text), more);
}

/** Error display; `again` retries. */
export function failure(error, again = null) {
  const known = error instanceof Problem;
  if (!known) console.error(error);
  return h(
    "div",
    { class: "failure", role: "alert" },
    h("p", {}, h("strong", {}, known ? error.title : "This page failed"), known && error.detail && `: ${error.detail}`),
    known ? null : h("p", {}, String(error.message ?? error)),
    again ? button("Try again", again) : null,
  );
}

/**
 * Show the result of asynchronous work: a loading sign first, then its elements or the error.
 * @param {Element} place element to fill
 * @param {function(): Promise<Node|Array>} work
 */
export async function show(place, work, text = "Loading") {
  fill(place, loading(text));
  place.setAttribute("aria-busy", "true");
  try {
    fill(place, await work());
  } catch (error) {
    if (error.name !== "AbortError") fill(place, failure(error, () => show(place, work, text)));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/**
 * A table.
 * @param {object} content
 * @param {string} content.caption
 * @param {Array<string|{text: string, number: boolean}>} content.header
 * @param {Array<Array<string|Node|{text: string, sort: number}>>} content.rows the first cell names the row
 * @param {string} [content.note]
 * @param {boolean} [content.sortable] whether its headers sort it
 */
export function table({ caption, header, rows, note = "", sortable = false, properties = {} }) {
  const body = h("tbody", {}, rows.map(rowOf));
  const heads = header.map((cell, place) => headOf(cell, place, sortable ? () => sort(place) : null));
  const made = h(
    "table",
    properties,
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, heads)),
    body,
  );
  let sorted = null;
  // With focus, keys scroll a table that is wider than the page.
  return add(
    h("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption }, made),
    note ? h("p", { class: "note" }, note) : null,
  );

  function sort(place) {
    const down = sorted?.place === place && !sorted.down;
    sorted = { place, down };
    heads.forEach((head, other) => {
      head.setAttribute("aria-sort", other === place ? (down ? "descending" : "ascending") : "none");
    });
    const order = [...rows].sort((a, b) => compare(sortKey(a[place]), sortKey(b[place])) * (down ? -1 : 1));
    fill(body, order.map(rowOf));
  }
}

function rowOf(cells) {
  const [first, ...rest] = cells.map((cell) => (isKeyed(cell) ? cell.text : cell));
  return h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell)));
}

function headOf(cell, place, sort) {
  return h("th", { scope: "col" }, sort ? button(cell, sort, { class: "plain" }) : cell);
}

function isKeyed(cell) {
  return cell !== null && typeof cell === "object" && !(cell instanceof Node) && "text" in cell;
}

function sortKey(cell) {
  if (isKeyed(cell)) return cell.sort;
  return cell instanceof Node ? cell.textContent : cell;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
}

/** A list of terms and descriptions; null descriptions are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h("dl", { class: "facts" }, shown.map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
}

/** Announce a message to screen readers, and show it for a while. */
export function say(text) {
  let place = document.getElementById("said");
  if (!place) {
    place = h("div", { id: "said", role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  fill(place, text);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => fill(place), 6000);
}

/**
 * Ask for confirmation of something that cannot be undone.
 * @returns {Promise<boolean>}
 */
export function confirm(title, text, action) {
  const heading = h("h2", { id: unique("title") }, title);
  const dialog = h(
    "dialog",
    { "aria-labelledby": heading.id },
    h(
      "form",
      { method: "dialog" },
      heading,
      h("p", {}, text),
      h(
        "div",
        { class: "actions" },
        h("button", { value: "yes", class: "danger" }, action),
        h("button", { value: "no" }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}

/** Have the browser save a file. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Run work behind a button that is disabled meanwhile; announce a failure. */
export async function behind(control, work) {
  const focused = document.activeElement === control;
  control.disabled = true;
  try {
    return await work();
  } catch (error) {
    say(error.message ?? String(error));
    if (!(error instanceof Problem)) console.error(error);
    return null;
  } finally {
    control.disabled = false;
    // Browsers take the focus from a disabled button.
    if (focused && document.activeElement === document.body) control.focus();
  }
}

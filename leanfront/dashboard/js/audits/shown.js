/** The result of an audit: tables, figures and galleries. */

import { h } from "../dom.js";
import { parse } from "../format.js";
import { canvas, drawSeen } from "../plot.js";
import { link } from "../shell.js";
import { table } from "../ui.js";

/**
 * The elements of an audit's figures.
 * @param {object} found answer of `.../audits/KIND/figures`
 * @returns {Array<Element>}
 */
export function shown(found) {
  const own = found.candidate === null ? (name) => linked(name, found.kind) : (name) => name;
  return found.parts.map((part) => [
    part.heading ? h("h2", {}, part.heading) : null,
    part.tables.map(({ title, header, rows, note }) =>
      table({
        caption: title,
        header,
        rows: rows.map(([name, ...cells]) => [own(name), ...cells.map((text) => ({ text, sort: sortKey(text) }))]),
        note,
        sortable: rows.length > 1,
      }),
    ),
    pieces(part.pieces),
  ]);
}

/** The name of a version; for a candidate, a link to its own audit. */
function linked(name, kind) {
  const [, id] = /^candidate (\d+)$/.exec(name) ?? [];
  return id ? h("a", { href: link("candidates", id, "audits", kind) }, name) : name;
}

/** Sort key of a cell: its number if it starts with one; "-" sorts first. */
function sortKey(text) {
  if (text === "-") return -Infinity;
  const number = parse(text) ?? Number.parseFloat(text.replace(/^[<>=~ ]+/, ""));
  return Number.isNaN(number) ? text : number;
}

/** The pieces always shown, then a fold for each version that has its own. */
function pieces(all) {
  const folds = new Map();
  for (const each of all) folds.set(each.fold, [...(folds.get(each.fold) ?? []), each]);
  const open = folds.get("") ?? [];
  folds.delete("");
  return [grid(open), [...folds].map(([title, own]) => fold(title, own))];
}

function grid(own) {
  return own.length ? h("div", { class: "figures" }, own.map(piece)) : null;
}

/** Folds may hold hundreds of figures and images, so their content is made when they are opened. */
function fold(title, own) {
  const details = h("details", {}, h("summary", {}, title));
  details.addEventListener("toggle", () => details.append(grid(own)), { once: true });
  return details;
}

function piece(each) {
  const caption = h("figcaption", {}, each.title);
  if (each.type === "gallery") return h("figure", { class: "wide" }, caption, gallery(each));
  const place = canvas(each.figure.layout.height);
  drawSeen(place, each.figure.data, each.figure.layout, {
    alt: each.alt,
    config: { displayModeBar: each.small ? false : "hover" },
  });
  return h("figure", { class: each.small ? "small" : "wide" }, caption, place, h("p", { class: "alt" }, each.alt));
}

function gallery({ cards, note }) {
  return [note ? h("p", {}, note) : null, cards.length ? h("ul", { class: "gallery" }, cards.map(card)) : null];
}

function card({ image, alt, rows }) {
  return h(
    "li",
    {},
    image ? h("img", { src: image, alt, loading: "lazy" }) : h("div", { class: "nothing" }, "no image"),
    h("dl", { class: "facts" }, rows.map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)])),
  );
}

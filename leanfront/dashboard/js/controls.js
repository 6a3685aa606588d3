/** Form controls for request fields, built from the OpenAPI document so that they always agree with it. */

import { add, fill, h, unique } from "./dom.js";
import { label } from "./format.js";
import { field, select } from "./ui.js";

/**
 * The control of a request field.
 * @param {string} name name of the field
 * @param {object} schema schema from the OpenAPI document
 * @param {object} [options]
 * @param {string} [options.title] label
 * @param {function(*): string} [options.text] label of a choice
 * @param {boolean} [options.required]
 * @returns {{element: Element, value: function(): *, refuse: function(string): void, focus: function(): void}}
 *   `value` returns null if nothing was entered; `refuse` shows an error, or clears it with ""
 */
export function control(name, schema, { title = schema.title ?? named(name), text = String, required = false } = {}) {
  const whole = { ...schema, ...schema.anyOf?.find(({ type }) => type !== "null") };
  const kind = KINDS.find(({ fits }) => fits(whole));
  // The document is written in Markdown.
  return kind.make(title, { ...whole, description: (schema.description ?? "").replaceAll("`", "") }, text, required);
}

/** Whether a value is the server's default. */
export function isDefault(value, schema) {
  return JSON.stringify(value) === JSON.stringify(schema.default ?? null);
}

function named(name) {
  const said = label(name);
  return said[0].toUpperCase() + said.slice(1);
}

/** Schema predicates and their controls; the first match is used. */
const KINDS = [
  { fits: ({ items }) => items?.enum !== undefined, make: several },
  { fits: ({ type }) => type === "array", make: numbers },
  { fits: (schema) => schema.enum !== undefined, make: one },
  { fits: ({ type }) => type === "boolean", make: yes },
  { fits: ({ type }) => type === "integer" || type === "number", make: number },
  { fits: () => true, make: line },
];

function several(title, schema, text) {
  const chosen = schema.default ?? [];
  const boxes = schema.items.enum.map((each) => h("input", { type: "checkbox", checked: chosen.includes(each) }));
  const help = h("small", { id: unique("help") }, schema.description);
  const element = h(
    "fieldset",
    { "aria-describedby": help.id },
    h("legend", {}, title),
    boxes.map((box, place) => h("label", { class: "check" }, box, ` ${text(schema.items.enum[place])}`)),
    help,
  );
  return {
    element,
    value: () => schema.items.enum.filter((_, place) => boxes[place].checked),
    ...refusable(element, element, () => boxes[0].focus()),
  };
}

function numbers(title, schema, _text, required) {
  const number = schema.items.type === "integer" ? "\\d+" : "\\d*\\.?\\d+";
  const input = h("input", {
    type: "text",
    inputmode: schema.items.type === "integer" ? "numeric" : "decimal",
    placeholder: schema.examples?.[0]?.join(", "),
    pattern: `\\s*(${number}\\s*(,\\s*${number}\\s*)*)?`,
    title: "numbers, with commas between them",
    value: (schema.default ?? []).join(", "),
    required,
  });
  const element = field(title, input, schema.description);
  return { element, value: () => (input.value.match(/[\d.]+/g) ?? []).map(Number), ...refusable(element, input) };
}

function one(title, schema, text, required) {
  // An empty choice means the server's default.
  const options = schema.enum.map((each, place) => [String(place), each === null ? "by itself" : text(each)]);
  const first = Math.max(schema.enum.indexOf(schema.default ?? null), 0);
  const made = select(options, String(first), () => {}, { required });
  const element = field(title, made, schema.description);
  return { element, value: () => schema.enum[Number(made.value)], ...refusable(element, made) };
}

function number(title, schema, _text, required) {
  const whole = schema.type === "integer";
  const input = h("input", {
    type: "number",
    step: whole ? 1 : "any",
    min: schema.minimum ?? schema.exclusiveMinimum,
    max: schema.maximum ?? (schema.exclusiveMaximum - (whole ? 1 : 0) || null),
    value: schema.default ?? "",
    required: required || schema.default !== undefined,
  });
  const element = field(title, input, schema.description);
  return { element, value: () => (input.value === "" ? null : Number(input.value)), ...refusable(element, input) };
}

function yes(title, schema) {
  const box = h("input", { type: "checkbox", checked: schema.default === true });
  const help = h("small", { id: unique("help") }, schema.description);
  box.setAttribute("aria-describedby", help.id);
  const element = h("div", { class: "field" }, h("label", { class: "check" }, box, ` ${title}`), help);
  return { element, value: () => box.checked, ...refusable(element, box) };
}

function line(title, schema, _text, required) {
  const input = h("input", { type: "text", maxlength: schema.maxLength, value: schema.default ?? "", required });
  const element = field(title, input, schema.description);
  return { element, value: () => input.value || null, ...refusable(element, input) };
}

/** Shows in a control that the server refused its value. */
function refusable(element, control, focus = () => control.focus()) {
  const said = h("small", { id: unique("refusal"), class: "wrong" });
  const before = control.getAttribute("aria-describedby");
  add(element, said);
  return {
    focus,
    refuse(detail) {
      fill(said, detail);
      control.setAttribute("aria-invalid", String(detail !== ""));
      control.setAttribute("aria-describedby", [before, detail && said.id].filter(Boolean).join(" "));
    },
  };
}

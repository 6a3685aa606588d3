/** How to audit: the options that the API's own document tells, with its defaults. */

import { h, unique } from "./dom.js";
import { label } from "./format.js";
import { field, select } from "./ui.js";

const ALL = ["candidates", "levels", "split"];
const COMPARED = ["population", "models"];
const CORRUPTED = ["samples", "corruptions", "severities"];
/** Kind -> the options it heeds, beside those of all. */
const OWN = {
  classes: COMPARED,
  exemplars: [...COMPARED, "gallery"],
  robustness: CORRUPTED,
  limits: ["criterion", "method", "samples", "corruptions"],
  bounds: ["samples"],
  geometry: ["criteria", ...CORRUPTED],
};

/**
 * The options of some kinds.
 * @param {Array<string>} kinds
 * @param {boolean} single whether they are of one candidate
 * @returns {Promise<{element: Element, values: function(): object|null}>} `values` gives what differs from the
 *   defaults, or null where something cannot be sent
 */
export async function form(kinds, single) {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error("the options could not be read");
  const { schemas } = (await answer.json()).components;
  const { properties } = schemas[single ? "AuditRequest" : "SearchAuditRequest"];
  const names = new Set([...ALL, ...kinds.flatMap((kind) => OWN[kind] ?? [])]);
  const controls = [...names].filter((name) => name in properties).map((name) => [name, control(name, properties[name])]);
  const element = h("form", { class: "options", on: { submit: (event) => event.preventDefault() } });
  element.append(...controls.map(([, each]) => each.element));
  return {
    element,
    values() {
      if (!element.reportValidity()) return null;
      const found = controls.map(([name, each]) => [name, each.value()]);
      return Object.fromEntries(
        found.filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(properties[name].default ?? null)),
      );
    },
  };
}

function control(name, schema) {
  const type = Object.keys(CONTROLS).find((each) => CONTROLS[each].fits(schema));
  // The document is written in Markdown.
  const description = schema.description.replaceAll("`", "");
  return CONTROLS[type].make(title(name), { ...schema, description });
}

function title(name) {
  const said = label(name);
  return said[0].toUpperCase() + said.slice(1);
}

/** What a schema looks like, and the control for it; the first that fits. */
const CONTROLS = {
  several: { fits: (schema) => schema.items?.enum !== undefined, make: several },
  numbers: { fits: (schema) => schema.items !== undefined, make: numbers },
  one: { fits: (schema) => schema.enum !== undefined, make: one },
  number: { fits: () => true, make: number },
};

function several(text, schema) {
  const boxes = schema.items.enum.map((each) =>
    h("input", { type: "checkbox", id: unique("option"), checked: (schema.default ?? []).includes(each) }),
  );
  const help = h("small", { id: unique("help") }, schema.description);
  return {
    element: h(
      "fieldset",
      { "aria-describedby": help.id },
      h("legend", {}, text),
      schema.items.enum.map((each, place) => h("label", { class: "check" }, boxes[place], ` ${each}`)),
      help,
    ),
    value: () => schema.items.enum.filter((_, place) => boxes[place].checked),
  };
}

function numbers(text, schema) {
  const input = h("input", {
    type: "text",
    inputmode: "numeric",
    placeholder: "17, 23",
    pattern: "\\s*(\\d+\\s*(,\\s*\\d+\\s*)*)?",
    title: "numbers, with commas between them",
  });
  return {
    element: field(text, input, schema.description),
    value: () => (input.value.match(/\d+/g) ?? []).map(Number),
  };
}

function one(text, schema) {
  let chosen = schema.default ?? null;
  // A choice of nothing leaves it to the server.
  const options = schema.enum.map((each) => (each === null ? ["", "by itself"] : [each, each]));
  const made = select(options, chosen ?? "", (value) => {
    chosen = value || null;
  });
  return { element: field(text, made, schema.description), value: () => chosen };
}

function number(text, schema) {
  const input = h("input", {
    type: "number",
    min: schema.minimum,
    max: schema.maximum,
    step: 1,
    required: true,
    value: schema.default,
  });
  return { element: field(text, input, schema.description), value: () => Number(input.value) };
}

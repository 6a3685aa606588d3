/** A form of options, made from their schemas in the OpenAPI document. */

import { control, isDefault } from "./controls.js";
import { h } from "./dom.js";

/**
 * @param {Object<string, object>} properties name -> schema
 * @param {Array<string>} [first] names of the options in sight; the others are behind a fold. All, if there are none
 * @returns {{element: Element, values: function(): object|null}} `values` returns what differs from the defaults, or
 *   null if a value is invalid
 */
export function optionsForm(properties, first = []) {
  const controls = Object.entries(properties).map(([name, schema]) => [name, control(name, schema)]);
  const element = h("form", { class: "options", on: { submit: (event) => event.preventDefault() } });
  const shown = controls.filter(([name]) => !first.length || first.includes(name));
  const rest = controls.filter((each) => !shown.includes(each));
  element.append(...shown.map(([, each]) => each.element));
  if (rest.length) {
    const fold = h("details", {}, h("summary", {}, "More options"));
    fold.append(h("div", { class: "options" }, rest.map(([, each]) => each.element)));
    // A browser cannot point at what is folded away.
    element.addEventListener("invalid", ({ target }) => (fold.open ||= fold.contains(target)), true);
    element.append(fold);
  }
  return {
    element,
    values() {
      if (!element.reportValidity()) return null;
      const found = controls.map(([name, each]) => [name, each.value()]);
      return Object.fromEntries(found.filter(([name, value]) => !isDefault(value, properties[name])));
    },
  };
}

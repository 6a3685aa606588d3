/** Creation of elements. Texts from users become text nodes, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Create an HTML element.
 * @param {string} tag its name
 * @param {object} properties attributes; `class`, `style` (an object), `dataset` (an object), `on` (event -> handler)
 *   and DOM properties (`value`, `checked`) are set as such; false and null are left out
 * @param {...(Node|string|number|null|Array)} children null and false are left out, lists are flattened
 */
export function h(tag, properties = {}, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** Create an SVG element, like `h` for HTML. */
export function svg(tag, properties = {}, ...children) {
  return build(document.createElementNS(SVG, tag), properties, children);
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "style") Object.assign(element.style, value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return add(element, ...children);
}

/** Append children to an element, as `h` takes them. */
export function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  return add(element, ...children);
}

let counter = 0;

/** An id that no other element of the page has. */
export function unique(stem = "e") {
  counter += 1;
  return `${stem}-${counter}`;
}

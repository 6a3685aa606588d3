/** The frame of all pages: header, theme switch, and error display. */

import { forgetKey, hasKey } from "./api.js";
import { add, fill, h } from "./dom.js";
import * as tray from "./tray.js";
import { button, failure, select } from "./ui.js";

const THEMES = [
  ["system", "system"],
  ["light", "light"],
  ["dark", "dark"],
];

/**
 * Start a page.
 * @param {string} title title of the document
 * @param {function(Element): (void|Promise<void>)} work fills the main part
 */
export async function start(title, work) {
  document.title = `${title} · leanfront`;
  document.body.prepend(h("a", { class: "skip", href: "#main" }, "Skip to content"), header());
  const main = document.getElementById("main");
  try {
    await work(main);
  } catch (error) {
    fill(main, h("h1", {}, title), failure(error, () => location.reload()));
  }
}

/** Breadcrumb navigation from pairs of text and address; the last has no address. */
export function trail(...steps) {
  const parts = steps.map(([text, address]) =>
    h("li", {}, address ? h("a", { href: address }, text) : h("span", { "aria-current": "page" }, text)),
  );
  return h("nav", { class: "trail", "aria-label": "Where you are" }, h("ol", {}, parts));
}

/** Address of a page below a search or a candidate. */
export function link(kind, name, ...rest) {
  return `/${[kind, name, ...rest].map(encodeURIComponent).join("/")}`;
}

function header() {
  const compared = h("a", { href: "/compare" });
  const count = () => {
    const number = tray.chosen().length;
    compared.href = tray.address();
    fill(compared, number ? `Compare (${number})` : "Compare");
  };
  count();
  tray.onChange(count);
  const links = [h("a", { href: "/" }, "Searches"), compared, h("a", { href: "/docs" }, "API")];
  for (const each of links) {
    if (each.pathname === location.pathname) each.setAttribute("aria-current", "page");
  }
  const theme = select(THEMES, document.documentElement.dataset.theme ?? "system", setTheme, { "aria-label": "Theme" });
  const shown = h("header", { class: "top" }, h("a", { class: "name", href: "/" }, "leanfront"));
  return add(
    shown,
    h("nav", { "aria-label": "Pages" }, h("ul", {}, links.map((each) => h("li", {}, each)))),
    theme,
    hasKey() ? button("Forget the key", () => (forgetKey(), location.reload()), { class: "plain" }) : null,
  );
}

function setTheme(theme) {
  if (theme === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("leanfront-theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("leanfront-theme", theme);
  }
  dispatchEvent(new CustomEvent("leanfront-theme"));
}

/** Charts: plotly in the colours of the page, under a policy that forbids inline styles and eval. */

import { h } from "./dom.js";
import { whenSeen } from "./lazy.js";
import { failure } from "./ui.js";

const BUNDLE = "/assets/vendor/plotly-strict-4.1.1.min.js";
/** Id of the style sheet for maps; the bundle writes it into the page if it is missing. */
const MAPS = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

/** Okabe and Ito's palette, distinguishable with any colour vision, and a grey; as in audit/drawing.py. */
export const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#9aa5b1"];
export const [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY] = COLOURS;
/** Used with the colours, so that colour alone distinguishes nothing. */
export const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star", "cross"];

const drawn = new Map();
let loaded = null;

/** Colour and symbol of an item in a series; the pair repeats only after 49. */
export function marks(place) {
  const turn = Math.floor(place / COLOURS.length);
  const colour = place % COLOURS.length;
  return { color: COLOURS[colour], symbol: SYMBOLS[(colour + turn) % SYMBOLS.length] };
}

/** Escape a text for plotly, which reads tags and entities. */
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Value of a colour variable of the page's style. */
export function shade(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Whether the browser has WebGL; without it, points are drawn one by one. */
export function hasWebGL() {
  hasWebGL.known ??= document.createElement("canvas").getContext("webgl") !== null;
  return hasWebGL.known;
}

/** Load plotly, once. */
export function plotly() {
  loaded ??= new Promise((resolve, reject) => {
    obey();
    document.head.append(
      h("meta", { id: MAPS }),
      h("script", {
        src: BUNDLE,
        on: { load: () => resolve(window.Plotly), error: () => reject(new Error("the chart library did not load")) },
      }),
    );
  });
  return loaded;
}

/** Set a style through properties: the policy forbids style attributes written by a script. */
function obey() {
  const write = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function setAttribute(name, value) {
    if (name === "style") this.style.cssText = value;
    else write.call(this, name, value);
  };
}

/** A place for a chart. */
export function canvas(height = 380, properties = {}) {
  const { class: kind = "", ...rest } = properties;
  return h("div", { class: `plot ${kind}`.trim(), style: { height: `${height}px` }, ...rest });
}

/**
 * Draw a chart, or redraw it with other content.
 * @param {Element} place from `canvas`
 * @param {Array<object>} traces plotly's traces; texts in them must be `plain`
 * @param {object} layout plotly's layout; the page sets its colours
 * @param {object} [options]
 * @param {string} [options.alt] description of the chart
 * @param {object} [options.config] plotly's configuration
 * @returns {Promise<Element>} the place, with plotly's `on`
 */
export async function draw(place, traces, layout, { alt = "", config = {} } = {}) {
  const library = await plotly();
  if (alt) {
    // Not role "img": it contains buttons.
    place.setAttribute("role", "figure");
    place.setAttribute("aria-label", alt);
  }
  drawn.set(place, { traces, layout, config });
  await library.react(
    place,
    traces,
    { ...layout, template: template() },
    {
      responsive: true,
      displaylogo: false,
      displayModeBar: "hover",
      showSendToCloud: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
      ...config,
    },
  );
  return place;
}

/** Draw a chart like `draw`, once its place is about to become visible; before, it may have no width. */
export function drawSeen(place, traces, layout, options) {
  whenSeen(place, () => draw(place, traces, layout, options).catch((error) => place.replaceChildren(failure(error))));
  return place;
}

/** Fill of a candidate's bars: colour and hatching, so that colour alone distinguishes nothing. */
export function filling({ colour, hatch }) {
  return { color: colour, pattern: { shape: hatch, fillmode: "overlay", fgcolor: "rgba(255,255,255,0.75)", size: 6 } };
}

/** Change only the layout of a drawn chart, without redrawing the rest. */
export async function relayout(place, changes) {
  if (!drawn.has(place)) return;
  Object.assign(drawn.get(place).layout, changes);
  await (await plotly()).relayout(place, changes);
}

/** Remove a chart. */
export async function clear(place) {
  drawn.delete(place);
  (await plotly()).purge(place);
}

/** Save a chart as a PNG file. */
export async function png(place, filename) {
  const library = await plotly();
  const { clientWidth: width, clientHeight: height } = place;
  await library.downloadImage(place, { format: "png", filename, width, height, scale: 2 });
}

function template() {
  const axis = { gridcolor: shade("grid"), zerolinecolor: shade("line"), linecolor: shade("line") };
  const bar = { bgcolor: "rgba(0,0,0,0)", color: shade("soft"), activecolor: shade("text") };
  const hover = { bgcolor: shade("back"), bordercolor: shade("line"), font: { color: shade("text") } };
  const scene = { ...axis, backgroundcolor: shade("card"), color: shade("text") };
  return {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      colorway: COLOURS,
      xaxis: { ...axis, automargin: true },
      yaxis: { ...axis, automargin: true },
      scene: { xaxis: scene, yaxis: scene, zaxis: scene },
      font: { color: shade("text"), family: "system-ui, sans-serif", size: 12 },
      hoverlabel: hover,
      modebar: bar,
    },
  };
}

async function redraw() {
  for (const [place, { traces, layout, config }] of drawn) {
    if (place.isConnected) await draw(place, traces, layout, { config });
    else drawn.delete(place);
  }
}

addEventListener("leanfront-theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

/** A candidate: overview, measurements, layers, files, audits and recovery. */

import { find, get, path } from "../api.js";
import { fill, h } from "../dom.js";
import { interval, number, ratio, significant } from "../format.js";
import { bars } from "../layers.js";
import { BLUE } from "../plot.js";
import { link, start, trail } from "../shell.js";
import { onReturn, place, read, write } from "../state.js";
import * as tray from "../tray.js";
import { button, check, empty, facts, panel, say, show } from "../ui.js";
import { auditsOf } from "./audits.js";
import { files } from "./files.js";
import { groupTable, layerTable } from "./layers.js";
import { difference, measured, verificationOf, verified } from "./measured.js";
import { neighbours } from "./neighbours.js";
import { recoveriesOf } from "./recovery.js";

const LINKS = [
  ["#measurements", "Measurements"],
  ["#layers", "Layers"],
  ["#neighbours", "Neighbours"],
  ["#files", "Files"],
  ["#audits", "Audits"],
];
/** State of a candidate -> state of a job that is shown alike. */
const STATES = { complete: "done", failed: "failed", stopped: "cancelled" };

start("Candidate", async (main) => {
  const [, id] = place();
  const candidate = /^[1-9]\d{0,17}$/.test(id) ? await find(path("candidates", id)) : null;
  if (candidate === null) {
    fill(
      main,
      trail(["Searches", "/"], [`Candidate ${id}`]),
      h("h1", {}, `Candidate ${id}`),
      empty(`There is no candidate ${id} in this database.`, h("a", { href: "/" }, "All searches")),
    );
    return;
  }
  document.title = `Candidate ${candidate.id} · ${candidate.search} · leanfront`;
  const search = await get(path("searches", candidate.search));
  await page(main, candidate, search);
});

async function page(main, candidate, search) {
  const failed = candidate.state === "failed";
  const jumps = LINKS.filter(([href]) => !failed || href !== "#neighbours");
  const measurements = h("div", { id: "measurements" });
  const layers = h("div");
  const beside = h("div");
  const recoveries = h("div");
  const audits = h("div");
  fill(
    main,
    trail(["Searches", "/"], [candidate.search, link("searches", candidate.search)], [`Candidate ${candidate.id}`]),
    h("h1", {}, `Candidate ${candidate.id}`),
    head(candidate, search),
    h(
      "nav",
      { class: "jumps", "aria-label": "On this page" },
      h(
        "ul",
        {},
        jumps.map(([href, text]) => h("li", {}, h("a", { href }, text))),
      ),
    ),
    measurements,
    panel("Layers", { id: "layers" }, layers),
    h(
      "div",
      { class: "panels" },
      failed ? null : panel("Neighbours on the frontier", { id: "neighbours" }, beside),
      h("div", { class: "panel", id: "files" }, files(candidate)),
      panel("Recovery", { id: "recovery" }, recoveries),
      panel("Audits", { id: "audits" }, audits),
    ),
    configuration(candidate),
  );
  await Promise.all([
    show(measurements, () => measurementsOf(candidate, search)),
    show(layers, () => layersOf(candidate)),
    failed ? null : show(beside, () => neighbours(candidate)),
    show(recoveries, () => recoveriesOf(candidate, recoveries)),
    show(audits, () => auditsOf(candidate)),
  ]);
}

function head(candidate, search) {
  const { on_frontier: member, parent } = candidate;
  const dense = (name) =>
    search.dense.find((each) => each.name === name && ["validation", null].includes(each.split))?.value ?? null;
  const accuracy = candidate.measurements.find((each) => each.name === "accuracy" && each.split === "validation");
  const cost = (name, unit) => {
    const against = ratio(candidate[name], dense(name));
    return candidate[name] === null ? null : `${number(candidate[name], unit)}${against ? ` (${against})` : ""}`;
  };
  return panel(
    "Overview",
    { class: "about" },
    candidate.reason
      ? h("p", { class: candidate.state === "failed" ? "failure reason" : "empty reason" }, candidate.reason)
      : null,
    facts([
      [
        "state",
        h(
          "span",
          {
            class: `state ${STATES[candidate.state]}`,
          },
          candidate.state,
        ),
      ],
      [
        "frontier",
        candidate.state === "failed"
          ? null
          : member
            ? "on it: no stored candidate dominates it"
            : "not on it: another candidate dominates it",
      ],
      [
        "accuracy",
        accuracy ? `${interval(accuracy)}, ${difference(accuracy.value, dense("accuracy"), "1")} against dense` : null,
      ],
      ["memory", cost("memory_bytes", "byte")],
      ["MACs", cost("macs", "MAC")],
      ["recovered from", parent === null ? null : h("a", { href: link("candidates", parent) }, `candidate ${parent}`)],
      ["trial", `${candidate.trial}, ${significant(candidate.seconds)} s`],
    ]),
    h(
      "div",
      { class: "actions" },
      compared(candidate),
      h("a", { class: "button", href: tray.address(withOwn(candidate.id)) }, "Compare"),
    ),
  );
}

function withOwn(id) {
  return [id, ...tray.chosen().filter((each) => each !== id)].slice(0, tray.MOST_COMPARED);
}

function compared({ id }) {
  const control = button("", () => {
    if (!tray.toggle(id)) say(`The comparison already has ${tray.MOST_COMPARED} candidates: remove one first.`);
  });
  const tell = () => {
    const inside = tray.chosen().includes(id);
    control.setAttribute("aria-pressed", String(inside));
    fill(control, inside ? "In the comparison" : "Add to comparison");
  };
  tell();
  tray.onChange(tell);
  return control;
}

async function measurementsOf(candidate, search, again = false) {
  const current = again ? await get(path("candidates", candidate.id)) : candidate;
  const verification = await verificationOf(current);
  const renew = () => show(document.getElementById("measurements"), () => measurementsOf(candidate, search, true));
  return [
    panel(
      "Measurements",
      {},
      current.measurements.length
        ? measured(current, search.dense, verification)
        : empty("Nothing was measured on it."),
    ),
    verified(current, verification, renew),
  ];
}

async function layersOf(candidate) {
  const found = await find(path("candidates", candidate.id, "layers"));
  if (found === null) return empty("The layers are not known: no worker has loaded this search's target.");
  const charts = h("div");
  const paint = () => {
    const set = { name: `candidate ${candidate.id}`, layers: found.layers, colour: BLUE, hatch: "" };
    fill(charts, bars([set], { log: read("log") === "1" }));
  };
  paint();
  return [
    h("p", { class: "note" }, "Outlines show the dense model."),
    logSwitch(paint),
    charts,
    layerTable(found),
    found.groups.length
      ? h("details", {}, h("summary", {}, `${found.groups.length} channel groups`), groupTable(found))
      : null,
  ];
}

function logSwitch(paint) {
  const label = check("logarithmic axes", read("log") === "1", (on) => {
    write({ log: on ? "1" : null });
    paint();
  });
  onReturn(() => {
    label.querySelector("input").checked = read("log") === "1";
    paint();
  });
  return h("p", {}, label);
}

function configuration(candidate) {
  const text = JSON.stringify(candidate.configuration, null, 2);
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("The configuration is copied.");
    } catch {
      say("This browser does not let the page copy: select the text and copy it.");
    }
  });
  return h(
    "details",
    { class: "panel" },
    h("summary", {}, "Configuration as JSON"),
    h("p", {}, copy),
    h("pre", { tabindex: 0 }, text),
  );
}

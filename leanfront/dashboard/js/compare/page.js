/** Up to four candidates side by side: measurements, choices, layers and audits. */

import { find, get, path } from "../api.js";
import { fill, h } from "../dom.js";
import { number } from "../format.js";
import { link, start, trail } from "../shell.js";
import { onReturn, read } from "../state.js";
import * as tray from "../tray.js";
import { button, empty, field, panel, say, show } from "../ui.js";
import { compared } from "./audits.js";
import { calibration } from "./calibration.js";
import { choose, isId, look, wanted } from "./choice.js";
import { classes } from "./classes.js";
import { layers } from "./layers.js";
import { choices, measured } from "./measured.js";
import { robustness } from "./robustness.js";

start("Compare", async (main) => {
  // Without ids in the address, compare the candidates picked on other pages.
  if (read("ids") === null && tray.chosen().length) history.replaceState(null, "", tray.address());
  const picked = h("div");
  const wrong = h("div", { role: "alert" });
  const content = h("div");
  let shown = null;
  const render = async () => {
    const now = wanted();
    // The address may also hold another switch of the page.
    if (shown === JSON.stringify(now)) return;
    shown = JSON.stringify(now);
    fill(wrong, now.wrong ? h("p", { class: "wrong" }, now.wrong) : null);
    document.title = `Compare ${now.ids.join(", ")} · leanfront`;
    await show(content, () => page(now.ids, picked, choosing));
  };
  const choosing = async (ids) => {
    choose(ids);
    await render();
    // The pressed button may be gone.
    if (document.activeElement === document.body) main.querySelector("form input").focus();
  };
  onReturn(render);
  fill(
    main,
    trail(["Searches", "/"], ["Compare"]),
    h("h1", {}, "Compare candidates"),
    wrong,
    picked,
    adding(choosing),
    content,
  );
  await render();
});

/** A form that adds a candidate. */
function adding(choosing) {
  const input = h("input", { type: "text", inputmode: "numeric", autocomplete: "off", size: 8 });
  const add = async (event) => {
    event.preventDefault();
    const { ids } = wanted();
    const text = input.value.trim();
    const id = Number(text);
    if (!isId(text)) say("An id is a number: see the title of a candidate's page.");
    else if (ids.includes(id)) say(`Candidate ${id} is already in the comparison.`);
    else if (ids.length >= tray.MOST_COMPARED)
      say(`At most ${tray.MOST_COMPARED} candidates can be compared: remove one first.`);
    else {
      input.value = "";
      await choosing([...ids, id]);
    }
  };
  return h(
    "form",
    { class: "row", on: { submit: add } },
    field("Id of a candidate", input),
    h("button", {}, "Add"),
    button("Add those I picked", () => choosing([...new Set([...wanted().ids, ...tray.chosen()])])),
  );
}

async function page(ids, picked, choosing) {
  const found = await Promise.all(ids.map((id) => find(path("candidates", id))));
  const candidates = found.map((each, place) => each && { ...each, name: `candidate ${ids[place]}` });
  const known = candidates.filter(Boolean);
  fill(
    picked,
    h(
      "ul",
      { class: "chosen" },
      ids.map((id, place) =>
        card(id, candidates[place], known.indexOf(candidates[place]), () =>
          choosing(ids.filter((each) => each !== id)),
        ),
      ),
    ),
  );
  if (known.length < 2) {
    return empty(
      "Choose two or more candidates: by id here, or with “Add to comparison” on their pages.",
      h("p", {}, h("a", { href: "/" }, "All searches")),
    );
  }
  const names = [...new Set(known.map((each) => each.search))];
  const [comparison, searches] = await Promise.all([
    get("compare", { ids: known.map((each) => each.id).join(",") }),
    Promise.all(names.map((name) => get(path("searches", name)))),
  ]);
  const alike = new Set(searches.map((each) => each.fingerprint)).size === 1;
  const layered = h("div");
  show(layered, () => layers(known));
  return [
    names.length > 1
      ? h(
          "p",
          { class: alike ? "note" : "warn" },
          alike
            ? "They belong to several searches of the same target."
            : "They belong to searches of different targets: models or data differ, so accuracies are not comparable.",
        )
      : null,
    panel("Measurements", { class: "of-measurements" }, measured(comparison, alike)),
    panel("Choices", { class: "of-choices" }, choices(comparison)),
    panel("Layers", { class: "of-layers" }, layered),
    compared("classes", "Classes", known, classes),
    compared("calibration", "Calibration", known, calibration),
    compared("robustness", "Robustness", known, robustness),
  ];
}

function card(id, candidate, place, remove) {
  const out = button("Remove", remove, { "aria-label": `Remove candidate ${id}` });
  if (!candidate) return h("li", {}, h("p", { class: "wrong" }, `There is no candidate ${id} in this database.`), out);
  const swatch = h("span", { class: "swatch", "aria-hidden": "true", style: { background: look(place).colour } });
  return h(
    "li",
    {},
    h(
      "p",
      {},
      swatch,
      " ",
      h("a", { href: link("candidates", id) }, candidate.name),
      " of ",
      h("a", { href: link("searches", candidate.search) }, candidate.search),
    ),
    h(
      "p",
      {},
      candidate.state === "complete"
        ? null
        : [
            h("span", { class: `state ${candidate.state === "failed" ? "failed" : "cancelled"}` }, candidate.state),
            " ",
          ],
      candidate.state === "failed"
        ? candidate.reason
        : `accuracy ${number(candidate.accuracy, "1")}, ${number(candidate.memory_bytes, "byte")}`,
    ),
    out,
  );
}

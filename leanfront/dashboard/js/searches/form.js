/** Start a search: the fields are those that the API's own document tells. */

import { get, openapi, post, Problem } from "../api.js";
import { control, isDefault } from "../controls.js";
import { fill, h } from "../dom.js";
import { label } from "../format.js";
import { show } from "../ui.js";

/** Fields that most searches are told; all others are behind a fold, with good values already. */
const FIRST = ["target", "name", "trials", "minutes", "recover", "objectives"];
const NAMED = ["objectives", "metrics"];

/**
 * The form, behind a fold that reads what it needs when it opens.
 * @param {function(object): void} started called with the search that was queued
 * @returns {HTMLDetailsElement}
 */
export function startForm(started) {
  const place = h("div", {});
  const made = h("details", { class: "panel start" }, h("summary", {}, "Start a search"), place);
  let filled = false;
  made.addEventListener("toggle", async () => {
    if (!made.open || filled) return;
    filled = true;
    await show(place, () => content((row) => ((made.open = false), (filled = false), started(row))));
  });
  return made;
}

async function content(started) {
  const [targets, { components }] = await Promise.all([get("targets"), openapi()]);
  return targets.length ? form(components.schemas.SearchRequest, targets, started) : noTargets();
}

function noTargets() {
  return h(
    "div",
    { class: "empty" },
    h("p", {}, "This server offers no target. Whoever runs it names those that may be searched:"),
    h("p", {}, h("code", {}, "leanfront serve --target digits=digits --target mine=path/to/file.py:function")),
  );
}

function form({ properties, required }, targets, started) {
  const descriptions = new Map(targets.map(({ name, description }) => [name, description]));
  // What the operator says of each is told with its name.
  const target = { ...properties.target, enum: [...descriptions.keys()], description: "" };
  const schemas = { ...properties, target };
  const texts = {
    target: (name) => (descriptions.get(name) ? `${name}: ${descriptions.get(name)}` : name),
    ...Object.fromEntries(NAMED.map((name) => [name, label])),
  };
  const controls = new Map(
    Object.entries(schemas).map(([name, schema]) => [
      name,
      control(name, schema, { text: texts[name], required: required.includes(name) }),
    ]),
  );
  const elements = (names) => names.map((name) => controls.get(name).element);
  const wrong = h("p", { class: "wrong", role: "alert" });
  const send = h("button", { class: "primary" }, "Start it");
  const made = h(
    "form",
    { on: { submit: (event) => (event.preventDefault(), submit()) } },
    h("div", { class: "fields" }, elements(FIRST.filter((name) => controls.has(name)))),
    h(
      "details",
      {},
      h("summary", {}, "How it searches"),
      h("div", { class: "fields" }, elements([...controls.keys()].filter((name) => !FIRST.includes(name)))),
    ),
    wrong,
    h("div", { class: "actions" }, send),
  );
  // A browser cannot point at what is folded away.
  made.addEventListener("invalid", ({ target }) => unfold(target), true);
  return made;

  function values() {
    const given = [...controls].map(([name, each]) => [name, each.value()]);
    return Object.fromEntries(
      given.filter(([name, value]) => required.includes(name) || !isDefault(value, schemas[name])),
    );
  }

  async function submit() {
    send.disabled = true;
    refuse(null);
    try {
      started(await post("searches", values()));
    } catch (error) {
      refuse(error);
      if (!(error instanceof Problem)) throw error;
    } finally {
      send.disabled = false;
    }
  }

  /** Say what is wrong, each at its field, and go to the first. */
  function refuse(problem) {
    const said = new Map();
    const elsewhere = [];
    for (const { pointer, detail } of problem?.errors ?? []) {
      const name = fieldOf(pointer);
      if (controls.has(name)) said.set(name, [...(said.get(name) ?? []), detail]);
      else elsewhere.push(detail);
    }
    for (const [name, each] of controls) each.refuse((said.get(name) ?? []).join("; "));
    if (problem && !problem.errors.length) elsewhere.push(problem.message);
    fill(wrong, elsewhere.join("; "));
    const first = [...controls].find(([name]) => said.has(name))?.[1];
    if (first) {
      unfold(first.element);
      first.focus();
    }
  }
}

/** The field that a JSON Pointer leads into: "#/bits/0" -> "bits". */
function fieldOf(pointer) {
  return (pointer ?? "").split("/")[1]?.replaceAll("~1", "/").replaceAll("~0", "~");
}

function unfold(element) {
  const fold = element.closest("details");
  if (fold) fold.open = true;
}

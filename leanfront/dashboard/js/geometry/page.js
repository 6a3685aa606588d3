/** The geometry of pruning in six linked views that share one selection. */

import { get, path } from "../api.js";
import { fill, h } from "../dom.js";
import { moment } from "../format.js";
import { link, start, trail } from "../shell.js";
import { place } from "../state.js";
import { panel, show } from "../ui.js";
import { attribution } from "./attribution.js";
import { controls, summary } from "./controls.js";
import { Findings } from "./data.js";
import { classLines, confusion, density } from "./global.js";
import { local } from "./local.js";
import { making } from "./making.js";
import { similarity } from "./map.js";
import { samples } from "./samples.js";
import { Selection } from "./state.js";
import { evaluation } from "./table.js";

const READING =
  "Where samples lie before the last layer, under each criterion, ratio and corruption. Choose two models, A and B, " +
  "and a corruption; select classes or samples: all views follow, and the address keeps what you chose.";

start("Geometry", async (main) => {
  const [, search] = place();
  const content = h("div");
  document.title = `Geometry · ${search} · leanfront`;
  fill(
    main,
    trail(
      ["Searches", "/"],
      [search, link("searches", search)],
      ["Audits", link("searches", search, "audits")],
      ["Geometry"],
    ),
    h("h1", {}, `Geometry of pruning: ${search}`),
    content,
  );
  await open();

  function open() {
    return show(content, async () => {
      const made = await get(path("searches", search, "audits"));
      if (!made.some(({ kind }) => kind === "geometry")) return making(search, open);
      const audit = await get(path("searches", search, "audits", "geometry"));
      return views(search, audit, await Findings.read(search, audit));
    });
  }
});

function views(search, audit, findings) {
  const selection = new Selection(findings);
  const { samples: count, split } = audit.document;
  return [
    h("p", {}, READING),
    h(
      "p",
      { class: "source" },
      `${count} samples of the ${split} split, ${moment(audit.created)}. `,
      "Source: Understanding robustness lottery, arXiv 2206.07918. ",
      h("a", { href: link("searches", search, "audits", "geometry") }, "All its tables and figures"),
    ),
    controls(selection),
    summary(selection),
    panel("1. Evaluation", { id: "evaluation" }, evaluation(selection)),
    h(
      "div",
      { class: "panels" },
      panel("2. Similarity of models", { id: "similarity" }, similarity(selection)),
      panel("3. Local geometry: angle against norm", { id: "local" }, local(selection)),
      panel("4. Global geometry: classes", { id: "classes" }, classLines(selection)),
      panel("Density", { id: "density" }, density(selection)),
    ),
    panel("Confusion of classes", { id: "confusion" }, confusion(selection)),
    panel("5. Attribution by occlusion", { id: "attribution" }, attribution(selection)),
    panel("6. Samples", { id: "samples" }, samples(selection)),
  ];
}

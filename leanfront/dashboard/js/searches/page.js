/** The page of all searches, live, with a form to start one. */

import { fill, h } from "../dom.js";
import { follow } from "../events.js";
import { start } from "../shell.js";
import { button, empty, loading, say } from "../ui.js";
import { startForm } from "./form.js";
import { SearchList } from "./list.js";
import { Workers } from "./workers.js";

start("Searches", async (main) => {
  const heading = h("h1", {}, "Searches");
  fill(main, heading, loading());
  const form = startForm(started);
  const workers = new Workers(() => form.open || list.has("queued"));
  const list = new SearchList(nothing, () => workers.look());
  const live = h("p", { class: "live note", role: "status" });
  form.addEventListener("toggle", () => workers.look());
  await list.load();
  fill(main, h("div", { class: "row head" }, heading, live), workers.element, form, list.element);
  followAll(list, live);

  /** Show a search queued here before its first event arrives. */
  function started(row) {
    list.put(row);
    list.reveal(row.name);
    say(`${row.name}: queued`);
  }

  function nothing() {
    const open = button("Start a search", () => ((form.open = true), form.querySelector("summary").focus()));
    return empty(
      "There are no searches in this database yet.",
      h("div", { class: "actions" }, open),
      h("p", {}, "Or in a terminal, with this server's --database: ", h("code", {}, "leanfront search digits"), "."),
      h("p", {}, h("code", {}, "leanfront demo"), " shows a complete example."),
    );
  }
});

async function followAll(list, live) {
  const heard = {
    search: (row) => list.put(row),
    removed: ({ name }) => list.drop(name),
  };
  let broken = false;
  const connected = (stands) => {
    fill(live, stands ? "live" : "not live: trying again");
    live.classList.toggle("warn", !stands);
    // No event tells what was deleted meanwhile.
    if (stands && broken) list.load().catch(() => {});
    broken = !stands;
  };
  await follow("events", ({ event, data }) => heard[event]?.(data), { connected, endless: true });
  fill(live, "not live: reload the page");
}

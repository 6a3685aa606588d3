/** The audits of a search or a candidate: a list, their results, and buttons to make them. */

import { get, path } from "../api.js";
import { Jobs } from "../audit-jobs.js";
import { fill, h } from "../dom.js";
import { moment } from "../format.js";
import { link, start, trail } from "../shell.js";
import { place } from "../state.js";
import { behind, button, empty, facts, failure, panel, save, say, show } from "../ui.js";
import { form } from "./form.js";
import { shown } from "./shown.js";

const SLOW = ["limits", "geometry"];
const LONG = "Limits and geometry prune a model many times: on a large one that takes a worker hours.";
const IDLE = "No worker for audits is running.";

class Page {
  constructor(main, about, kinds, kind) {
    Object.assign(this, { main, about, kinds, kind });
    this.made = new Map();
    this.list = h("nav", { class: "kinds", "aria-label": "Kinds of audit" });
    this.notice = h("div", { class: "jobs" });
    this.content = h("div", { class: "audit" });
  }

  async open() {
    const { about, kind } = this;
    const known = this.kinds.find((each) => each.kind === kind);
    const of = about.candidate === null ? `search ${about.search}` : `candidate ${about.candidate}`;
    document.title = `${known?.title ?? "Audits"} · ${of} · leanfront`;
    fill(
      this.main,
      trail(...about.trail, ...(kind ? [["Audits", this.address()], [known?.title ?? kind]] : [["Audits"]])),
      h("h1", {}, known ? `${known.title}: ${of}` : `Audits of ${of}`),
      h("div", { class: "audits" }, this.list, h("div", { class: "found" }, this.notice, this.content)),
    );
    await this.refresh();
    this.jobs = new Jobs(
      about.where,
      () => this.tell(),
      (...ended) => this.ended(...ended),
    );
    this.tell();
    if (!kind) this.overview();
    else if (known) await this.one(known);
    else {
      const all = h("a", { href: this.address() }, "All kinds");
      fill(this.content, empty(`There is no kind of audit “${kind}”.`, all));
    }
  }

  address(...rest) {
    return `${this.about.page}/audits${rest.map((each) => `/${encodeURIComponent(each)}`).join("")}`;
  }

  async refresh() {
    const rows = await get(this.about.where);
    this.made = new Map(rows.map((row) => [row.kind, row]));
  }

  /** Show which audits exist and which are under way. */
  tell() {
    fill(
      this.list,
      h(
        "ul",
        {},
        h("li", {}, h("a", { href: this.address(), "aria-current": this.kind ? null : "page" }, "All kinds")),
        this.kinds.map(({ kind, title }) =>
          h(
            "li",
            {},
            h("a", { href: this.address(kind), "aria-current": kind === this.kind ? "page" : null }, title),
            " ",
            this.state(kind),
          ),
        ),
      ),
      this.about.candidate === null && this.made.has("geometry")
        ? h("p", {}, h("a", { href: `${this.about.page}/geometry` }, "Geometry in linked views"))
        : null,
    );
    const lines = [...(this.jobs?.known ?? [])].map(([kind, { state, message }]) =>
      h("li", {}, `${this.title(kind)}: `, h("span", { class: `state ${state}` }, state), message ? ` ${message}` : ""),
    );
    const idle = this.jobs?.worked === false;
    fill(
      this.notice,
      lines.length ? h("ul", {}, lines) : null,
      idle
        ? h("p", { class: "warn" }, IDLE, " Start one: ", h("code", {}, "leanfront worker"), "; until then it waits.")
        : null,
    );
    if (idle && !this.idle) say(IDLE);
    this.idle = idle;
  }

  state(kind) {
    const job = this.jobs?.known.get(kind);
    if (job) return h("span", { class: `state ${job.state}` }, job.state);
    const row = this.made.get(kind);
    return h("small", {}, row ? moment(row.created) : "not made yet");
  }

  title(kind) {
    return this.kinds.find((each) => each.kind === kind)?.title ?? kind;
  }

  async ended(kind, state) {
    say(`${this.title(kind)}: ${state}`);
    if (state !== "done") return;
    await this.refresh();
    this.tell();
    if (!this.kind) this.tellCards();
    else if (this.kind === kind) await this.one(this.kinds.find((each) => each.kind === kind));
  }

  /** All kinds with their purpose, and buttons to make all of them. */
  overview() {
    const names = this.kinds.map(({ kind }) => kind);
    const missing = () => names.filter((kind) => !this.made.has(kind));
    const some = this.made.size > 0 && missing().length > 0;
    this.cards = h("div", { class: "panels" });
    fill(
      this.content,
      this.made.size ? null : empty("There are no audits yet. An audit shows what the loss of accuracy hides."),
      this.cards,
      panel(
        "Queue audits",
        { class: "order" },
        h("p", {}, LONG),
        this.order([...(some ? [["Make the missing audits", missing]] : []), ["Audit all kinds", () => names]], names),
      ),
    );
    this.tellCards();
  }

  tellCards() {
    fill(this.cards, this.kinds.map((each) => this.card(each)));
  }

  card({ kind, title, reading }) {
    return panel(
      title,
      {},
      h("p", {}, reading),
      h(
        "p",
        {},
        this.made.has(kind)
          ? h("a", { href: this.address(kind) }, `What ${title} found`)
          : h("a", { href: this.address(kind) }, "Not made yet: queue it"),
      ),
    );
  }

  /** The results of one kind, or its purpose if it has not been made. */
  async one(known) {
    const { kind, reading, source } = known;
    const order = (title) => this.order([[title, () => [kind]]], [kind]);
    if (!this.made.has(kind)) {
      fill(
        this.content,
        h("p", {}, reading),
        h("p", { class: "source" }, `Source: ${source}.`),
        panel("Not made yet", { class: "order" }, SLOW.includes(kind) ? h("p", {}, LONG) : null, order("Audit now")),
      );
      return;
    }
    await show(this.content, async () => {
      const found = await get(`${this.about.where}/${path(kind, "figures")}`);
      return [
        h("p", {}, found.reading),
        h("p", { class: "source" }, `Source: ${found.source}.`),
        this.links(kind),
        shown(found),
        this.how(found),
        h("details", { class: "order" }, h("summary", {}, "Audit again"), order("Audit again")),
      ];
    }, "Loading the figures");
  }

  links(kind) {
    const { about } = this;
    const whole = about.candidate === null ? null : link("searches", about.search, "audits", kind);
    const views = kind === "geometry" ? link("searches", about.search, "geometry") : null;
    return h(
      "p",
      { class: "row" },
      whole ? h("a", { href: whole }, "The same for the whole search") : null,
      views ? h("a", { href: views }, "Geometry in linked views") : null,
      button("Download JSON", (event) =>
        behind(event.currentTarget, async () => {
          const found = await get(`${about.where}/${path(kind)}`);
          const of = about.candidate === null ? about.search : `candidate-${about.candidate}`;
          save(new Blob([JSON.stringify(found, null, 1)], { type: "application/json" }), `${of}-${kind}.json`);
        }),
      ),
    );
  }

  how({ created, release, parameters }) {
    return h(
      "details",
      {},
      h("summary", {}, "How this audit was made"),
      facts([
        ["made", moment(created)],
        ["by", release ? `leanfront ${release}` : null],
        ...Object.entries(parameters)
          .filter(([, value]) => value !== null)
          .map(([name, value]) => [name, h("code", {}, typeof value === "string" ? value : JSON.stringify(value))]),
      ]),
    );
  }

  /** Buttons that queue audits, from pairs of a text and a function that returns the kinds; with options in a fold. */
  order(choices, kinds) {
    const wrong = h("div");
    const fold = h("details", {}, h("summary", {}, "Options"));
    let options = null;
    const read = () =>
      show(holder, async () => {
        options = await form(kinds, this.about.candidate !== null);
        return options.element;
      });
    const holder = h("div");
    fold.append(holder);
    fold.addEventListener("toggle", read, { once: true });
    const buttons = choices.map(([text, own]) =>
      button(text, (event) => queue(event.currentTarget, own()), { class: "primary" }),
    );
    const queue = (control, own) => {
      const values = options === null ? {} : options.values();
      if (values === null) return null;
      fill(wrong);
      return behind(control, () =>
        this.jobs.queue(own, values).then(
          () => say(`Queued: ${own.map((each) => this.title(each)).join(", ")}`),
          (error) => fill(wrong, failure(error)),
        ),
      );
    };
    return [fold, h("div", { class: "actions" }, buttons), wrong];
  }
}

async function subject(room, id) {
  if (room === "searches") {
    const page = link("searches", id);
    const steps = [["Searches", "/"], [id, page]];
    return { search: id, candidate: null, page, where: path("searches", id, "audits"), trail: steps };
  }
  const { search } = await get(path("candidates", id));
  const page = link("candidates", id);
  return {
    search,
    candidate: Number(id),
    page,
    where: path("candidates", id, "audits"),
    trail: [["Searches", "/"], [search, link("searches", search)], [`Candidate ${id}`, page]],
  };
}

start("Audits", async (main) => {
  const [room, id, , kind] = place();
  const [about, kinds] = await Promise.all([subject(room, id), get("audits/kinds")]);
  await new Page(main, about, kinds, kind).open();
});

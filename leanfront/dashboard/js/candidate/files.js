/** A candidate's files: list, download, and making them. */

import { file, get, path, post } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes } from "../format.js";
import { button, failure, panel, save, show } from "../ui.js";
import { order } from "./order.js";

const ABOUT = {
  safetensors: "the packed file that leanfront.load reads, as small as the search says",
  onnx: "runs in ONNX Runtime, with integer weights",
  pt2: "a torch.export program that runs without leanfront, its weights as float32",
};

/** The panel of a candidate's files. */
export function files(candidate) {
  const holder = h("div");
  const refresh = () => show(holder, () => listed(candidate, refresh), "Looking for its files");
  refresh();
  return panel("Files", { class: "files" }, holder);
}

async function listed(candidate, refresh) {
  const found = await get(path("candidates", candidate.id, "artifacts"));
  return h(
    "ul",
    { class: "plain-list" },
    found.map((each) => row(candidate, each, refresh)),
  );
}

function row(candidate, found, refresh) {
  const { format, sha256 } = found;
  const about = h("span", {}, h("strong", {}, format), ABOUT[format] ? `: ${ABOUT[format]}.` : "");
  if (sha256 === null) return h("li", { dataset: { format } }, about, h("p", {}, absent(candidate, format, refresh)));
  const told = h("span", { role: "status", "aria-live": "polite" });
  return h(
    "li",
    { dataset: { format } },
    about,
    h("p", {}, bytes(found.bytes), `, ${found.bytes} bytes, SHA-256 `, h("code", { class: "digest" }, sha256)),
    h(
      "p",
      {},
      button(`Download ${format}`, (event) => take(event.currentTarget, candidate, found, told), { class: "primary" }),
      " ",
      told,
    ),
  );
}

function absent(candidate, format, refresh) {
  if (candidate.state === "failed") return "There is none: the candidate failed.";
  const queue = () => post(path("candidates", candidate.id, "artifact"), undefined, { parameters: { format } });
  return ["Not made yet. ", order(`Make ${format}`, "export", queue, refresh)];
}

/** Fetch a file with the key, check that it is complete, and save it. */
async function take(control, candidate, { format, sha256 }, told) {
  control.disabled = true;
  fill(told, "Fetching…");
  try {
    const found = await file(path("candidates", candidate.id, "artifact"), { format });
    const digest = await digestOf(found.blob);
    // A file may have been made again since the page was drawn; the server sends its digest.
    if (digest !== null && digest !== found.digest) {
      fill(
        told,
        h("span", { class: "wrong" }, `✗ The download is damaged: its SHA-256 is ${digest}. It was not saved.`),
      );
      return;
    }
    save(found.blob, found.name);
    fill(told, digest === null ? unchecked(found) : h("span", { class: "good" }, `✓ ${found.name}: SHA-256 matches`));
    if (found.digest !== sha256) fill(told, told.textContent, ` ${found.digest}, of a file made again since`);
  } catch (error) {
    fill(told, failure(error));
  } finally {
    control.disabled = false;
  }
}

function unchecked({ name }) {
  return `${name} is saved; its SHA-256 was not checked: browsers do that only on secure connections (HTTPS).`;
}

/** SHA-256 in hexadecimal digits; null if the browser does not support it. */
async function digestOf(blob) {
  if (!isSecureContext) return null;
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return [...found].map((each) => each.toString(16).padStart(2, "0")).join("");
}

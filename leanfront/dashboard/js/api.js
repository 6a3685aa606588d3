/** Client of the HTTP API, the dashboard's only source of data. */

import { askForKey } from "./key.js";

const ROOT = "/api/v1";
const STORED = "leanfront-key";

/** A refusal by the API (RFC 9457), or the reason why there is no answer (status 0). */
export class Problem extends Error {
  constructor({ status = 0, title = "The request failed", detail = "", errors = [], type = "" }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, errors, type });
  }
}

/** A path with encoded parts: `path("searches", name, "frontier")`. */
export function path(...parts) {
  return parts.map((part) => encodeURIComponent(part)).join("/");
}

function key() {
  return sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED);
}

/** Store a key for this tab, or for this browser. */
function keep(found) {
  sessionStorage.setItem(STORED, found.key);
  if (found.remember) localStorage.setItem(STORED, found.key);
}

/** Forget the key. */
export function forgetKey() {
  sessionStorage.removeItem(STORED);
  localStorage.removeItem(STORED);
}

/** Whether requests carry a key. */
export function hasKey() {
  return key() !== null;
}

function address(where, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return `${ROOT}/${where}${query.size ? `?${query}` : ""}`;
}

/**
 * Request something below /api/v1; ask the user for a key if the server needs one.
 * @returns {Promise<Response>} an answer with status 2xx or 3xx
 * @throws {Problem} any other answer, or none
 */
export async function ask(where, { method = "GET", parameters, body, signal, headers = {} } = {}) {
  const sent = { ...headers };
  if (key() !== null) sent.Authorization = `Bearer ${key()}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address(where, parameters), {
      method,
      headers: sent,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The server does not answer", detail: "It may have been stopped; try again." });
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401) {
    const found = await askForKey(hasKey() ? problem.detail : "");
    if (found !== null) {
      keep(found);
      return ask(where, { method, parameters, body, signal, headers });
    }
  }
  throw problem;
}

async function problemOf(answer) {
  let found = {};
  try {
    found = await answer.json();
  } catch {
    found = { title: `The server answered ${answer.status}` };
  }
  return new Problem({ ...found, status: answer.status });
}

/** Read a JSON document. */
export async function get(where, parameters, { signal } = {}) {
  return (await ask(where, { parameters, signal })).json();
}

/** Read a JSON document, or null if there is none (404). */
export async function find(where, parameters, options) {
  try {
    return await get(where, parameters, options);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** The document that describes the API: its parameters and bodies, with their bounds, defaults and choices. */
export async function openapi() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw await problemOf(answer);
  return answer.json();
}

/** Send a JSON document; return the answer, or null if it is empty. */
export async function post(where, body, { parameters, method = "POST" } = {}) {
  const answer = await ask(where, { method, parameters, body });
  return answer.status === 204 ? null : answer.json();
}

/** Delete something. */
export async function remove(where) {
  await ask(where, { method: "DELETE" });
}

/**
 * Iterate over the pages of a list.
 * @yields {object} the pages, each with `next` if another follows
 */
export async function* pages(where, parameters, { signal } = {}) {
  let cursor;
  do {
    const page = await get(where, { ...parameters, cursor }, { signal });
    yield page;
    cursor = page.next;
  } while (cursor);
}

/** Download a file: its content, name, and the SHA-256 given by the server in hexadecimal digits. */
export async function file(where, parameters) {
  const answer = await ask(where, { parameters });
  const named = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "");
  return {
    blob: await answer.blob(),
    name: named?.[1] ?? "download",
    digest: (answer.headers.get("ETag") ?? "").replaceAll('"', ""),
  };
}

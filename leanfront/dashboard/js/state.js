/** State of a page in its address, which can be shared, bookmarked and navigated. */

/** A parameter of the address, or `otherwise`. */
export function read(name, otherwise = null) {
  return new URLSearchParams(location.search).get(name) ?? otherwise;
}

/** All parameters with a prefix, without it: `family("max_")` -> {memory_bytes: "64000"}. */
export function family(start) {
  const found = {};
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (name.startsWith(start)) found[name.slice(start.length)] = value;
  }
  return found;
}

/**
 * Put values into the address; null and "" remove one.
 * @param {object} changes name -> value
 * @param {object} [options]
 * @param {boolean} [options.push] whether to add an entry to the browser's history
 */
export function write(changes, { push = false } = {}) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  const address = `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`;
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

/** The parts of the path: `/searches/a%20b` -> ["searches", "a b"]. */
export function place() {
  return location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
}

/** Call a function when the user navigates back or forward. */
export function onReturn(work) {
  addEventListener("popstate", work);
}

/** The candidates chosen for comparison: up to four, kept while the tab is open. */

const STORED = "leanfront-compared";
export const MOST_COMPARED = 4;

/** Ids of the candidates, in the order they were chosen. */
export function chosen() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED) ?? "[]").filter(Number.isInteger).slice(0, MOST_COMPARED);
  } catch {
    return [];
  }
}

/** Add or remove a candidate. @returns {boolean} false if there are already four */
export function toggle(id) {
  const before = chosen();
  const after = before.includes(id) ? before.filter((each) => each !== id) : [...before, id];
  if (after.length > MOST_COMPARED) return false;
  sessionStorage.setItem(STORED, JSON.stringify(after));
  dispatchEvent(new CustomEvent("leanfront-compared"));
  return true;
}

/** Address of the comparison. */
export function address(ids = chosen()) {
  return `/compare${ids.length ? `?ids=${ids.join(",")}` : ""}`;
}

/** Call a function when the choice changes. */
export function onChange(work) {
  addEventListener("leanfront-compared", work);
}

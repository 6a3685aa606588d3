/** The candidates that are to be compared: up to four, kept for as long as the tab is open. */

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

/** Take a candidate in, or out. @returns {boolean} false where there are four already */
export function toggle(id) {
  const before = chosen();
  const after = before.includes(id) ? before.filter((each) => each !== id) : [...before, id];
  if (after.length > MOST_COMPARED) return false;
  sessionStorage.setItem(STORED, JSON.stringify(after));
  dispatchEvent(new CustomEvent("leanfront-compared"));
  return true;
}

/** Where they are compared. */
export function address(ids = chosen()) {
  return `/compare${ids.length ? `?ids=${ids.join(",")}` : ""}`;
}

/** Call something when another candidate is chosen. */
export function onChange(work) {
  addEventListener("leanfront-compared", work);
}

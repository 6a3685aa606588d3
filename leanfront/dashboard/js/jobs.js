/** States of a worker's work, and whether a worker is there. */

import { get, Problem } from "./api.js";

/** States of a search or job to which nothing more happens. */
export const ENDED = ["done", "failed", "cancelled"];
/** States of a search or job. */
export const STATES = ["queued", "running", ...ENDED];

/** Whether a worker runs that takes such jobs; true where that is not told, or cannot be asked for the moment. */
export async function worked(kind) {
  try {
    const { workers } = await get("health");
    return !workers || workers.some(({ kinds }) => kinds.includes(kind));
  } catch (error) {
    if (error instanceof Problem) return true;
    throw error;
  }
}

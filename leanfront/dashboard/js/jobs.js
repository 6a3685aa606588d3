/** Work that a worker does: when it is over, and whether anybody does it. */

import { get, Problem } from "./api.js";

/** States in which nothing more happens to a job. */
export const ENDED = ["done", "failed", "cancelled"];

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

/** States of jobs, and whether a worker takes them. */

import { get, Problem } from "./api.js";

/** States in which a search or job has ended. */
export const ENDED = ["done", "failed", "cancelled"];
/** All states of a search or job. */
export const STATES = ["queued", "running", ...ENDED];

/** Whether a worker takes such jobs; true if unknown or temporarily not available. */
export async function worked(kind) {
  try {
    const { workers } = await get("health");
    return !workers || workers.some(({ kinds }) => kinds.includes(kind));
  } catch (error) {
    if (error instanceof Problem) return true;
    throw error;
  }
}

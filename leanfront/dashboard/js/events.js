/** Server-sent events through fetch, which can send a key, unlike EventSource. */

import { ask, Problem } from "./api.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

/**
 * Follow an event stream until it ends, reconnecting when it breaks.
 * @param {string} where below /api/v1
 * @param {function({event: string, id: string, data: object}): void} heard called for every event
 * @param {object} [options]
 * @param {AbortSignal} [options.signal] ends it
 * @param {function(boolean): void} [options.connected] called with whether the stream is connected
 * @param {boolean} [options.endless] whether to reconnect when the stream ends
 */
export async function follow(where, heard, { signal, connected = () => {}, endless = false } = {}) {
  let last = null;
  let wait = FIRST_WAIT;
  while (!signal?.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
      const answer = await ask(where, { headers, signal });
      if (answer.status === 204) return;
      connected(true);
      for await (const event of read(answer.body)) {
        wait = FIRST_WAIT;
        last = event.id ?? last;
        heard(event);
      }
      if (!endless) {
        // With 204, the server says that no events are left.
        if (last === null) return;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof Problem && [401, 404].includes(error.status)) return;
    }
    connected(false);
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}

/** Parse the events in a stream of bytes. */
async function* read(body) {
  let rest = "";
  for await (const part of parts(body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (rest + part.replaceAll("\r\n", "\n")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event !== null) yield event;
    }
  }
}

async function* parts(stream) {
  // Not all browsers iterate over streams.
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const found = { event: "message", id: null, data: [] };
  for (const line of block.split("\n")) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name === "data") found.data.push(value);
    else if (name === "event" || name === "id") found[name] = value;
  }
  return found.data.length ? { ...found, data: JSON.parse(found.data.join("\n")) } : null;
}

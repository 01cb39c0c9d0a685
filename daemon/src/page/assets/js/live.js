// What changes, as the box tells it; the connection is made again whenever it breaks.

import { getJson } from "./api.js";

const RETRY_MS = 2000;
const NAMES = ["exams", "health", "logs"];

/** Dispatches `exams`, `health` and `logs` with the data as `detail`, and `connected` with true or false. */
class Live extends EventTarget {
  #source = null;
  #retry = null;

  start() {
    this.stop();
    this.#source = new EventSource("/api/events");
    this.#source.onopen = () => this.#tell("connected", true);
    this.#source.onerror = () => {
      this.#tell("connected", false);
      // After an answer that is no stream, the browser doesn't try again by itself. A question tells whether it was refused.
      if (this.#source?.readyState !== EventSource.CLOSED) return;
      this.#retry = setTimeout(() => this.start(), RETRY_MS);
      getJson("/api/health").catch(() => {});
    };
    for (const name of NAMES) {
      this.#source.addEventListener(name, ({ data }) => this.#tell(name, data ? JSON.parse(data) : null));
    }
  }

  stop() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

export const live = new Live();

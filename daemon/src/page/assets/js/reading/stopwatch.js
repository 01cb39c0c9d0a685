// How long a reader is at an exam: neither while the page is hidden or paused nor long after the last sign of life.

/** Without a key, a click or a movement, no more than this counts, ms. */
const IDLE_MS = 60_000;
const SIGNS = ["pointerdown", "pointermove", "wheel", "keydown"];

export class Stopwatch {
  #ms;
  /** Counted up to here; null while it stands still. */
  #last = null;
  #lastSign = 0;
  #stop = new AbortController();

  /** Goes on from `seconds`, but only when it is started. */
  constructor(seconds = 0) {
    this.#ms = seconds * 1000;
    const { signal } = this.#stop;
    SIGNS.forEach((name) => addEventListener(name, () => this.#sign(), { signal, passive: true, capture: true }));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hold();
      else if (this.#isHeld) this.start();
    }, { signal });
  }

  #isHeld = false;

  get seconds() {
    this.#count();
    return this.#ms / 1000;
  }

  /** While the page is hidden, it begins when the page is seen. */
  start() {
    this.#isHeld = document.hidden;
    if (this.#isHeld) return;
    this.#last = this.#lastSign = performance.now();
  }

  pause() {
    this.#count();
    this.#isHeld = false;
    this.#last = null;
  }

  end() {
    this.pause();
    this.#stop.abort();
  }

  #hold() {
    if (this.#last === null) return;
    this.pause();
    this.#isHeld = true;
  }

  #sign() {
    this.#count();
    this.#lastSign = performance.now();
    if (this.#last !== null) this.#last = this.#lastSign;
  }

  #count() {
    if (this.#last === null) return;
    const until = Math.min(performance.now(), this.#lastSign + IDLE_MS);
    this.#ms += Math.max(0, until - this.#last);
    this.#last = Math.max(this.#last, until);
  }
}

// The reading time without a browser: a clock that is set by hand, and signs of life that are called.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const signs = new Map();
let now = 0;
globalThis.performance = { now: () => now };
globalThis.addEventListener = (name, sign) => signs.set(name, sign);
globalThis.document = { addEventListener: globalThis.addEventListener, hidden: false };
const { Stopwatch } = await import(pathToFileURL(process.argv[2]));

const watch = new Stopwatch(5);
const pass = (seconds) => {
  for (let second = 0; second < seconds; second += 1) {
    now += 1000;
    // As the draft is kept, which is no sign of life.
    if (second % 5 === 4) watch.seconds;
  }
};
pass(10);
assert.equal(watch.seconds, 5, "it isn't started");
watch.start();
pass(50);
assert.equal(watch.seconds, 55);
signs.get("keydown")();
pass(600);
assert.equal(watch.seconds, 115, "a minute after the last sign it stands still");
signs.get("pointermove")();
pass(30);
assert.equal(watch.seconds, 145);
watch.pause();
signs.get("keydown")();
pass(30);
assert.equal(watch.seconds, 145, "it is paused");
document.hidden = true;
watch.start();
pass(30);
assert.equal(watch.seconds, 145, "it is started while the page is hidden");
document.hidden = false;
signs.get("visibilitychange")();
pass(30);
assert.equal(watch.seconds, 175, "it goes when the page is seen");

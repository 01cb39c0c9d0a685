// A Chromium, what is asked of any page, and its pixels.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader"];

export const launch = () => chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGUMENTS });

/** Opens a page that fails the test when it asks another origin for anything, or when a script of it fails. */
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== base) problems.push(`asked ${url}`);
  });
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) problems.push(message.text());
  });
  return { page, context, problems };
}

/** Violations that axe calls serious or critical; there must be none. */
export async function checkAccessibility(page, view) {
  // Evaluated, not added as a script, which the page's policy would forbid.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const said = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(said, [], `accessibility of ${view}`);
}

/** Where two PNGs of one size differ by more than `threshold` of 255: `[x, y]` of each pixel. `blank` is a page without a policy. */
export function difference(blank, one, other, threshold = 12) {
  return blank.evaluate(async ([threshold, ...pictures]) => {
    const [a, b] = await Promise.all(pictures.map(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, image.width, image.height);
    }));
    if (a.width !== b.width || a.height !== b.height) throw new Error("pictures of different sizes");
    const places = new Map();
    a.data.forEach((value, i) => {
      if (Math.abs(value - b.data[i]) > threshold) places.set(i >> 2, [(i >> 2) % a.width, Math.floor((i >> 2) / a.width)]);
    });
    return [...places.values()];
  }, [threshold, one.toString("base64"), other.toString("base64")]);
}

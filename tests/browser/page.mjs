// The page of a real daemon, from an empty list to pixels. Its argument: `{base, token, send, rejected, state}`; `send` and
// `rejected` are commands that send an exam and one that is refused, `state` is the daemon's folder.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { checkAccessibility, difference, launch, open } from "./chromium.mjs";

const { base, token, send, rejected, state, pictures } = JSON.parse(process.argv[2]);
const LIMIT = { timeout: 90_000 };
const run = promisify(execFile);
const said = {};

const browser = await launch();
const { page, context, problems } = await open(browser, base);
const blank = await (await browser.newContext()).newPage();
const shot = async (name, options) => pictures && page.screenshot({ path: `${pictures}/${name}.png`, ...options });

try {
  await signIn();
  const study = await receiveLive();
  await filterList(study);
  await openByKeyboard(study);
  await overlayLiesOnFinding(study);
  await tableAndPictureAreLinked(study);
  await windowsAndShortcuts();
  await timeOpening(study);
  await healthAndLog();
  await everyViewIsAccessible(study);
  await filesComeWithTheTokenOnly(study);
  await olderResultsSaySo(study);
  assert.deepEqual(problems, []);
  console.log(JSON.stringify(said));
} finally {
  await browser.close();
}

/** A wrong token is refused; the right one comes with the address and goes from it. */
async function signIn() {
  await page.goto(base);
  await page.getByLabel("Token").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("not the token of this box").waitFor();
  await checkAccessibility(page, "signing in");
  await page.goto(`${base}/#token=${token}`);
  await page.getByText("No exam yet").waitFor();
  assert.ok(!page.url().includes(token));
  const [cookie, ...others] = await context.cookies();
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict" && !cookie.value.includes(token) && !others.length);
  assert.ok(!(await page.evaluate(() => document.cookie)));
}

/** Exams appear and change without a reload; gives the reference of the one that is analysed. */
async function receiveLive() {
  await page.evaluate(() => { globalThis.notReloaded = true; });
  await run(send[0], send.slice(1));
  await page.locator("tr[data-state=receiving], tr[data-state=waiting], tr[data-state=analysing]").first().waitFor(LIMIT);
  await page.locator("tr[data-state=done]").waitFor(LIMIT);
  await page.locator("tr[data-state=done]").evaluate((row) => { row.isKept = true; });
  await run(rejected[0], rejected.slice(1));
  const refused = page.locator("tr[data-state=rejected]");
  await refused.waitFor(LIMIT);
  assert.match(await refused.innerText(), /no sagittal T2w series.*\n?.*Send it/);
  assert.match(await page.locator("tbody tr").first().getAttribute("data-state"), /rejected/, "the newest is first");
  assert.ok(await page.evaluate(() => globalThis.notReloaded));
  assert.ok(await page.locator("tr[data-state=done]").evaluate((row) => row.isKept), "what didn't change stands as it was");
  return page.locator("tr[data-state=done] .ref").innerText();
}

async function filterList(study) {
  const rows = page.locator(".exams tbody tr");
  const details = await (await context.request.get(`${base}/api/exams/${study}/1`)).json();
  const found = new Set(details.document.findings.flatMap(({ type }) => type.split("-")));
  const absent = ["1", "2", "3", "indeterminate"].find((type) => !found.has(type));
  const shows = async (count) => assert.equal(await rows.count(), count);
  await page.getByLabel("State").selectOption("rejected");
  await shows(1);
  await page.getByLabel("State").selectOption("");
  await page.getByLabel("Modic type").selectOption([...found][0]);
  await shows(1);
  await page.getByLabel("Modic type").selectOption(absent);
  await shows(0);
  await page.getByLabel("Modic type").selectOption("");
  await page.getByLabel("Study", { exact: true }).fill(study.slice(3, 12));
  await shows(1);
  await page.getByLabel("Study", { exact: true }).fill("");
  await shows(2);
  await shot("list");
}

/** From the list to the picture without a mouse, the focus always in sight. */
async function openByKeyboard(study) {
  await page.locator("#main").focus();
  for (let steps = 0; steps < 3; steps++) {
    await page.keyboard.press("j");
    if ((await page.evaluate(() => document.activeElement.dataset.ref)) === study) break;
  }
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus is seen");
  await page.keyboard.press("Enter");
  await page.locator(".panes:not([aria-busy]) .mark").first().waitFor(LIMIT);
  await page.waitForTimeout(300);
  await shot("exam", { fullPage: true });
}

/** What changes when the map is switched on lies where its voxels are, in both pictures, on two slices. */
async function overlayLiesOnFinding(study) {
  const { document: finding, scene } = await (await context.request.get(`${base}/api/exams/${study}/1`)).json();
  const map = gunzipSync(readFileSync(`${state}/results/${study}/r0001/modic_map.nii.gz`)).subarray(352);
  const [slices, rows, columns] = scene.grid.shape;
  assert.equal(map.length, slices * rows * columns);
  const where = [];
  for (const { slice } of finding.findings.slice(0, 2)) {
    await goTo(slice);
    const changed = await mapChanges();
    for (const [k, { places, box }] of changed.entries()) {
      const expected = voxelsOn(map, scene.grid, slice, box);
      const centre = mean(places);
      const off = Math.hypot(centre[0] - expected.centre[0], centre[1] - expected.centre[1]);
      const inside = places.filter(([x, y]) => expected.boxes.some(([x0, y0, x1, y1]) =>
        x >= x0 - 2 && x <= x1 + 2 && y >= y0 - 2 && y <= y1 + 2)).length / places.length;
      where.push({ slice, series: k, pixels: places.length, off_px: Number(off.toFixed(2)), inside });
      assert.ok(places.length > 20, `slice ${slice}: ${places.length} pixels changed`);
      assert.ok(off < 2, `slice ${slice}: the overlay lies ${off} px off`);
      assert.ok(inside > 0.99, `slice ${slice}: ${inside} of the overlay lies on its voxels`);
    }
  }
  // The marks lie around the same voxels.
  const mark = await page.locator(".pane[data-series=T1] .mark.selected rect, .pane[data-series=T1] .mark rect").first().boundingBox();
  const pane = await page.locator(".pane[data-series=T1]").boundingBox();
  const part = voxelsOn(map, scene.grid, finding.findings.slice(0, 2).at(-1).slice, pane);
  const [x, y] = [mark.x + mark.width / 2 - pane.x, mark.y + mark.height / 2 - pane.y];
  assert.ok(part.boxes.some(([x0, y0, x1, y1]) => x >= x0 && x <= x1 && y >= y0 && y <= y1), `${x}, ${y}`);
  // Where no finding is, nothing changes, in either picture.
  const empty = [...Array(slices).keys()].find((s) => !map.subarray(s * rows * columns, (s + 1) * rows * columns).some(Boolean));
  await goTo(empty);
  for (const { places } of await mapChanges()) assert.equal(places.length, 0, `slice ${empty}`);
  // Transparent is as good as off.
  await goTo(finding.findings[0].slice);
  const off = await withoutNames(async () => {
    await page.keyboard.press("o");
    return pictureOf(0);
  });
  await page.keyboard.press("o");
  await page.getByLabel("Opacity of the map").fill("0");
  const clear = await withoutNames(() => pictureOf(0));
  assert.deepEqual(await difference(blank, off, clear, 0), []);
  await page.getByLabel("Opacity of the map").fill("55");
  said.overlay = where;
}

async function goTo(slice) {
  await page.getByLabel("Slice", { exact: true }).fill(String(slice));
  await settle();
}

/** The pixels of T1 and T2 that differ between map on and off. */
async function mapChanges() {
  return withoutNames(async () => {
    const on = [await pictureOf(0), await pictureOf(1)];
    await page.keyboard.press("o");
    await settle();
    const off = [await pictureOf(0), await pictureOf(1)];
    await page.keyboard.press("o");
    await settle();
    return Promise.all([0, 1].map(async (k) => ({
      places: await difference(blank, on[k], off[k]),
      box: await page.locator(".pane").nth(k).boundingBox(),
    })));
  });
}

/** Hides what stands over the canvases, so that only voxels are compared. */
async function withoutNames(work) {
  const show = (visibility) => page.evaluate((value) => {
    for (const element of document.querySelectorAll(".pane > :not(.screen)")) element.style.visibility = value;
  }, visibility);
  await show("hidden");
  await page.locator("#main").focus();
  const result = await work();
  await show("");
  return result;
}

async function pictureOf(series) {
  await settle();
  return page.locator(".pane").nth(series).screenshot();
}

/** Until what was asked for is painted. */
function settle() {
  return page.evaluate(() => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 60)));
  }));
}

/** Where a slice's voxels of the map are in a pane: the picture fills it as far as its shape lets it. */
function voxelsOn(map, { shape: [, rows, columns], spacing: [, rowMm, columnMm] }, slice, { width, height }) {
  const scale = Math.min(width / (columns * columnMm), height / (rows * rowMm));
  const [left, top] = [(width - columns * columnMm * scale) / 2, (height - rows * rowMm * scale) / 2];
  const centres = [];
  const boxes = [];
  for (let i = 0; i < rows * columns; i++) {
    if (!map[slice * rows * columns + i]) continue;
    const [row, column] = [Math.floor(i / columns), i % columns];
    centres.push([left + (column + 0.5) * columnMm * scale, top + (row + 0.5) * rowMm * scale]);
    boxes.push([left + column * columnMm * scale, top + row * rowMm * scale, left + (column + 1) * columnMm * scale, top + (row + 1) * rowMm * scale]);
  }
  return { centre: mean(centres), boxes };
}

function mean(places) {
  return [0, 1].map((k) => places.reduce((sum, place) => sum + place[k], 0) / places.length);
}

async function tableAndPictureAreLinked(study) {
  const { document: { findings } } = await (await context.request.get(`${base}/api/exams/${study}/1`)).json();
  const rows = page.locator(".findings").first().locator("tbody tr");
  assert.equal(await rows.count(), findings.length);
  const last = findings.length - 1;
  await goTo(0);
  await rows.nth(last).click();
  await settle();
  assert.equal(await page.getByLabel("Slice", { exact: true }).inputValue(), String(findings[last].slice));
  assert.equal(await rows.nth(last).getByRole("button").getAttribute("aria-pressed"), "true");
  assert.ok((await rows.nth(last).getAttribute("class")).includes("here"), "the slice's findings are highlighted");
  assert.equal(await page.locator(".mark.selected").count(), 2, "marked in both pictures");
  await page.keyboard.press("Home");
  await rows.first().getByRole("button").click();
  // A click on the picture chooses the row.
  await goTo(findings[last].slice);
  await page.locator(`.pane[data-series=T2] .mark[data-region="${last}"] rect`).click();
  assert.equal(await rows.nth(last).getByRole("button").getAttribute("aria-pressed"), "true");
  assert.match(await page.locator(".details").first().innerText(), /Composition/);
  for (const name of ["L5", "L4", "L3"]) assert.equal(await page.locator(".pane[data-series=T1] .level", { hasText: name }).count(), 1);
}

async function windowsAndShortcuts() {
  const number = (label) => page.getByLabel(label).inputValue().then(Number);
  const labels = ["Window of T1", "Level of T1", "Window of T2", "Level of T2"];
  const before = await Promise.all(labels.map(number));
  const pane = await page.locator(".pane[data-series=T1]").boundingBox();
  await page.mouse.move(pane.x + 100, pane.y + 100);
  await page.mouse.down();
  await page.mouse.move(pane.x + 150, pane.y + 130, { steps: 4 });
  await page.mouse.up();
  await settle();
  const dragged = await Promise.all(labels.map(number));
  assert.ok(dragged[0] > before[0] && dragged[1] > before[1], "to the right is wider, down is darker");
  assert.deepEqual(dragged.slice(2), before.slice(2), "T2 keeps its own");
  await page.getByLabel("Window of T2").fill("500");
  await page.keyboard.press("Enter");
  await settle();
  assert.equal(await number("Window of T2"), 500);
  await page.getByRole("button", { name: "Reset" }).click();
  await settle();
  assert.deepEqual(await Promise.all(labels.map(number)), before);

  const slice = () => page.getByLabel("Slice", { exact: true }).inputValue().then(Number);
  await goTo(3);
  await page.locator("#main").focus();
  await page.keyboard.press("ArrowDown");
  assert.equal(await slice(), 4);
  await page.mouse.move(pane.x + 100, pane.y + 100);
  await page.mouse.wheel(0, 100);
  await settle();
  assert.equal(await slice(), 5);
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await checkAccessibility(page, "the shortcuts");
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.locator(".skip").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  assert.match(page.url(), /#\/exam\//, "skipping to the content stays in the view");
}

/** From the click on an exam to its map on the screen, ms; told, not judged. */
async function timeOpening(study) {
  said.opening_ms = [];
  for (let times = 0; times < 5; times++) {
    await page.evaluate(() => { location.hash = "#/"; });
    await page.locator(`[data-ref="${study}"]`).waitFor();
    await page.waitForTimeout(500);
    said.opening_ms.push(await page.evaluate((ref) => new Promise((done) => {
      const start = performance.now();
      new MutationObserver((_, observer) => {
        const canvases = document.querySelectorAll(".panes:not([aria-busy]) .pane:has(.mark) canvas");
        if (canvases.length < 2) return;
        observer.disconnect();
        // Reading a pixel waits until all of them are drawn.
        for (const canvas of canvases) canvas.getContext("webgl2").readPixels(0, 0, 1, 1, 0x1908, 0x1401, new Uint8Array(4));
        requestAnimationFrame(() => setTimeout(() => done(Math.round(performance.now() - start))));
      }).observe(document.querySelector("#main"), { subtree: true, childList: true, attributes: true });
      document.querySelector(`[data-ref="${ref}"]`).click();
    }), study));
  }
}

async function healthAndLog() {
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  await page.getByText("Exams are received and analysed.").waitFor();
  await page.locator(".log li", { hasText: "A study is done." }).first().waitFor();
  // A hidden tab hears nothing; seen again, it asks for what it missed.
  const turn = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await turn(true);
  await Promise.all([page.waitForResponse(`${base}/api/logs`), turn(false)]);
  await page.locator(".log li", { hasText: "A study is done." }).first().waitFor();
  await page.getByLabel("Show").selectOption("ERROR");
  assert.equal(await page.locator(".log li").count(), 0);
  await page.getByLabel("Show").selectOption("INFO");
  await shot("health");
}

async function everyViewIsAccessible(study) {
  const views = [["list", "#/", ".exams .ref"], ["exam", `#/exam/${study}`, ".panes:not([aria-busy]) .mark"], ["health", "#/health", ".health dd"]];
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
    assert.equal(ground[0] > 128, scheme === "light", "the scheme is followed");
    for (const width of [1360, 768, 390]) {
      await page.setViewportSize({ width, height: 844 });
      for (const [name, address, ready] of views) {
        await page.evaluate((hash) => { location.hash = hash; }, address);
        await page.locator(ready).first().waitFor(LIMIT);
        await page.getByText("Research use, not for diagnosis").first().waitFor();
        const spare = await page.evaluate(() => innerWidth - document.documentElement.scrollWidth);
        assert.ok(spare >= 0, `${name} is ${-spare} px too wide for ${width} px`);
        await checkAccessibility(page, `${name}, ${scheme}, ${width} px`);
        await shot(`${name}-${scheme}-${width}`);
      }
    }
  }
  await page.setViewportSize({ width: 1360, height: 900 });
  // The switch goes before the system.
  await page.locator("#theme").click();
  await page.locator("#theme").click();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
}

async function filesComeWithTheTokenOnly(study) {
  await page.evaluate((hash) => { location.hash = hash; }, `#/exam/${study}`);
  const link = page.getByRole("link", { name: "Segmentation (DICOM)" });
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  assert.equal(download.suggestedFilename(), `modicd-${study}-r1-map.seg.dcm`);
  const file = readFileSync(await download.path());
  assert.equal(file.subarray(128, 132).toString(), "DICM");
  const pdf = await context.request.get(`${base}/api/exams/${study}/1/report.pdf`);
  assert.equal((await pdf.body()).subarray(0, 5).toString(), "%PDF-");
  const signOut = page.getByRole("button", { name: "Sign out" });
  await page.route("**/api/logout", (route) => route.fulfill({ status: 429 }));
  await signOut.click();
  await page.getByText("you are still signed in").waitFor();
  await page.unroute("**/api/logout");
  await signOut.click();
  await page.getByLabel("Token").waitFor();
  for (const path of ["", `/${study}`, `/${study}/1`, `/${study}/1/map.seg.dcm`]) {
    assert.equal((await context.request.get(`${base}/api/exams${path}`)).status(), 401);
  }
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
}

/** Results of versions that kept no pictures are shown without. */
async function olderResultsSaySo(study) {
  rmSync(`${state}/results/${study}/r0001/scene.json`);
  await page.evaluate(() => { location.hash = "#/"; });
  await page.evaluate((hash) => { location.hash = hash; }, `#/exam/${study}/1`);
  await page.getByText("made by an earlier version").waitFor(LIMIT);
  await page.getByRole("heading", { name: "Findings" }).waitFor();
}

// A reading session from list to kappa: `reading.mjs PAGE TOKEN [PICTURES]`.
//
// The administrator makes a list of all exams for the readers A and B, both read both sessions, the administrator takes the
// gradings out and looks at the agreement. Prints a line of JSON: what was pressed, the table, the agreement, what was seen.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [base, token, pictures] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--enable-unsafe-swiftshader"] });
const pressed = {};
const seen = [];
const requests = new Set();

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, bypassCSP: false, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("request", (request) => requests.add(new URL(request.url()).origin));
  page.on("pageerror", (error) => { throw error; });
  return { context, page };
}

/** No serious finding of axe; a picture to look at. */
async function look(page, name) {
  await page.evaluate(axe);
  for (const theme of ["light", "dark"]) {
    await page.evaluate((theme) => { document.documentElement.dataset.theme = theme; }, theme);
    const { violations } = await page.evaluate(() => window.axe.run());
    const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], `${name}, ${theme}`);
    seen.push(`${name}, ${theme}: axe ${violations.length} minor`);
    if (pictures) await page.screenshot({ path: `${pictures}/reading-${name}-${theme}.png`, fullPage: name.startsWith("lists") });
  }
}

/** What a reader says of an endplate: mostly nothing, B more like A with the map; some mixed, one not gradable. */
function gradeOf(reader, session, study, index) {
  const n = (parseInt(study.slice(0, 6), 16) + index * 7) % 12;
  if (index === 11 && reader === "B" && session === "blind") return "not gradable";
  const own = { 0: "1", 3: "2", 5: "2-1", 8: "3" }[n] ?? "0";
  const differs = reader === "B" && n % (session === "blind" ? 3 : 5) === 0;
  return differs ? "2" : own;
}

const MIXED = ["1-2", "2-1", "1-3", "3-1", "2-3", "3-2"];

async function grade(page, grade) {
  if (grade === "not gradable") return page.keyboard.press("x");
  if (!MIXED.includes(grade)) return page.keyboard.press(grade);
  for (let k = 0; k <= MIXED.indexOf(grade); k += 1) await page.keyboard.press("m");
  await page.keyboard.press("j");
}

const status = (page, path, token) => page.evaluate(async ([path, token]) => {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  return (await fetch(path, { headers })).status;
}, [path, token]);

async function read({ reader, link }, endplates) {
  const { context, page } = await open();
  const own = new URLSearchParams(new URL(link).hash.slice(1)).get("token");
  await page.goto(link);
  let first = true;
  for (const session of ["blind", "with_map"]) {
    for (let k = 0; ; k += 1) {
      const standing = await page.evaluate(async (token) => (await fetch("/api/reading/pilot", { headers: { authorization: `Bearer ${token}` } })).json(), own);
      if (standing.state === "done" || standing.session !== session) break;
      const { study_ref } = standing;
      await page.getByRole("heading", { name: `Exam ${k + 1} of ${standing.exams}` }).waitFor();
      await page.locator('.exam[data-state="open"]').waitFor();
      assert.equal(page.url().includes(own), false, "the token is gone from the address");
      const exam = `/api/reading/pilot/${study_ref}/${session}`;
      assert.equal(await page.locator(".findings, .side section:nth-of-type(2)").count() > 0, session === "with_map", "findings");
      if (session === "blind") {
        assert.equal(await page.locator(".pane .mark, .pane .level").count(), 0, "nothing is drawn over the pictures");
        assert.equal(await page.getByRole("button", { name: "Modic map" }).isVisible(), false);
        for (const path of [`${exam}/modic_map.nii`, exam.replace("blind", "with_map"), `${exam}/findings.png`]) {
          assert.equal(await status(page, path, own), 403, path);
        }
        for (const path of ["/api/exams", `/api/exams/${study_ref}/1/modic_map.nii`, "/api/readings/pilot/gradings.csv"]) {
          // 429: the page counts the reader's token as a wrong one.
          assert.ok([401, 429].includes(await status(page, path, own)), path);
          assert.equal(await status(page, path), 401, path);
        }
      } else {
        assert.equal(await status(page, `${exam}/modic_map.nii`, own), 200);
        assert.ok(await page.getByRole("button", { name: "Modic map" }).isVisible());
      }
      if (first) await tryControls(page, endplates);
      first = false;
      for (const [index, endplate] of endplates.entries()) {
        const said = gradeOf(reader, session, study_ref, index);
        await grade(page, said);
        pressed[`${reader} ${session} ${study_ref} ${endplate}`] = said;
      }
      const handIn = page.getByRole("button", { name: "Hand in" });
      await handIn.waitFor();
      if (reader === "A" && k === 0) await look(page, session);
      if (reader === "A" && k === 0 && session === "with_map" && pictures) {
        await page.setViewportSize({ width: 820, height: 1180 });
        await page.waitForTimeout(500);
        await page.screenshot({ path: `${pictures}/reading-tablet.png`, fullPage: true });
        await page.setViewportSize({ width: 1440, height: 900 });
      }
      const done = page.waitForResponse((response) => response.request().method() === "POST");
      const next = page.waitForResponse((response) => response.url().endsWith("/api/reading/pilot"));
      await page.locator("main").focus();
      await page.keyboard.press("Enter");
      assert.equal((await done).status(), 204);
      await next;
    }
  }
  await page.getByText("Thank you").waitFor();
  // Into the same tab once more.
  await page.goto(link);
  await page.waitForFunction(() => !location.hash);
  await page.getByText("Thank you").waitFor();
  if (reader === "A") await look(page, "done");
  await context.close();
}

/** Going back, changing one's mind, the mouse, a draft that outlives the tab, a pause that stops the time. */
async function tryControls(page, endplates) {
  const row = (index) => page.getByRole("group", { name: endplates[index], exact: true });
  const isFree = async () => assert.equal(await page.evaluate(() => document.activeElement.id), "main", "keys are for grading");
  await page.keyboard.press("1");
  await page.keyboard.press("k");
  await page.keyboard.press("3");
  assert.equal(await row(0).getByRole("button", { name: "type 3" }).getAttribute("aria-pressed"), "true");
  // The last one, so that whoever presses "m" there begins with the first.
  await row(4).getByRole("combobox").selectOption(MIXED.at(-1));
  await row(5).getByRole("button", { name: "not gradable" }).click();
  await isFree();
  await page.getByLabel("Slice", { exact: true }).click();
  await isFree();
  await page.getByRole("button", { name: "3 of 12 graded" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "3 of 12 graded" }).isDisabled());
  await page.keyboard.press("?");
  await page.getByText("Grade: type 2").waitFor();
  await page.getByRole("button", { name: "Close" }).click();

  await page.reload();
  await page.getByRole("button", { name: "3 of 12 graded" }).waitFor();
  await page.locator('.exam[data-state="open"]').waitFor();
  const draft = () => page.evaluate(() => JSON.parse(Object.entries(localStorage).find(([key]) => key.startsWith("modicd-reading "))[1]).seconds);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("The time stands still").waitFor();
  assert.equal(await page.locator(".panes").isVisible(), false, "the pictures are covered");
  const before = await draft();
  await page.keyboard.press("2");
  await page.waitForTimeout(5500);
  assert.equal(await draft(), before, "the time stands still");
  await page.getByRole("button", { name: "Continue" }).click();
  await isFree();
  assert.equal(await row(1).getByRole("button", { name: "type 2" }).getAttribute("aria-pressed"), "false", "keys do nothing in a pause");
  for (let k = 0; k < 12; k += 1) await page.keyboard.press("k");
}

const { page: admin } = await open();
await admin.goto(`${base}/readings.html`);
await admin.getByText("sign in").first().waitFor();
const signedIn = await admin.evaluate(async (token) => {
  const headers = { "content-type": "application/json" };
  return (await fetch("/api/login", { method: "POST", headers, body: JSON.stringify({ token }) })).status;
}, token);
assert.equal(signedIn, 204);
await admin.reload();
await admin.getByLabel("Name").fill("pilot");
await admin.getByLabel("Readers' pseudonyms").fill("A, A");
await admin.getByLabel("Washout, days").fill("0");
await admin.getByLabel("Seed of the orders").fill("5");
await admin.getByRole("button", { name: "All" }).click();
await look(admin, "lists-new");
await admin.getByRole("button", { name: "Make the list" }).click();
await admin.getByText("That didn't work").waitFor();
assert.equal(await admin.getByLabel("Name").inputValue(), "pilot", "what was filled in stays");
await admin.getByLabel("Readers' pseudonyms").fill("A, B");
await admin.getByRole("button", { name: "Make the list" }).click();
await admin.getByText("The list is made").waitFor();
await look(admin, "lists");
const readers = [];
for (const reader of ["A", "B"]) readers.push({ reader, link: await admin.getByLabel(`Link of ${reader}`).inputValue() });

const endplates = (await admin.evaluate(async (token) => (await fetch("/api/reading/pilot", { headers: { authorization: `Bearer ${token}` } })).json(),
  readers[0].link.split("token=")[1])).endplates;
for (const reader of readers) await read(reader, endplates);

await admin.reload();
const done = admin.getByRole("row", { name: "B" });
await done.getByText("3 of 3").first().waitFor();
assert.equal(await done.getByText("3 of 3").count(), 2);
const [download] = await Promise.all([admin.waitForEvent("download"), admin.getByRole("link", { name: "Export gradings" }).click()]);
const csv = await readFile(await download.path(), "utf8");
const agreement = await admin.evaluate(async () => (await fetch("/api/readings/pilot/agreement.json")).text());
const [report] = await Promise.all([admin.context().waitForEvent("page"), admin.getByRole("link", { name: "by type" }).click()]);
await report.getByRole("heading", { name: "Agreement of readers" }).waitFor();
await report.locator("figure svg").first().waitFor();
await look(report, "agreement");
// Imported again, nothing is new.
await admin.getByLabel("Gradings to import into pilot").setInputFiles({ name: "gradings.csv", mimeType: "text/csv", buffer: Buffer.from(csv) });
await admin.getByText("0 exams are new").waitFor();

assert.deepEqual([...requests].filter((origin) => origin !== base && !origin.startsWith("null")), [], "no request leaves the box");
await browser.close();
console.log(JSON.stringify({ pressed, csv, agreement, seen }));

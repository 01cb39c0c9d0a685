// The page: signs in, shows the view that the address names, keeps what all views share.
//
// Views are functions that fill the main element and give back what ends them: `#/`, `#/exam/{study_ref}[/{revision}]`,
// `#/health`.

import { Refused, getJson, signIn, signOut, signedOut } from "./api.js";
import { h, startSkip } from "./dom.js";
import { showExam } from "./exam.js";
import { showExams } from "./exams.js";
import { showHealth } from "./health.js";
import { setShortcuts, startKeys } from "./keys.js";
import { live } from "./live.js";
import { startTheme } from "./theme.js";
import { Viewer } from "./viewer.js";

const find = (id) => document.getElementById(id);
const main = find("main");
const viewer = new Viewer();

let end = () => {};
let isSignedIn = false;

function route() {
  if (!isSignedIn) return;
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  end();
  if (name === "exam") end = showExam(main, viewer, rest[0], Number(rest[1]) || null);
  else if (name === "health") end = showHealth(main);
  else end = showExams(main);
  const view = name === "health" ? "health" : "exams";
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  document.title = { exam: `Exam ${rest[0]} · modicd`, health: "Health · modicd" }[name] ?? "Exams · modicd";
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Asks for the token. */
function askForToken(message) {
  end();
  end = () => {};
  isSignedIn = false;
  follow();
  setShortcuts([]);
  find("sign-out").hidden = true;
  const token = h("input", { type: "password", autocomplete: "current-password", required: true, "aria-describedby": "where" });
  const form = h("form", { class: "card sign-in" },
    h("h1", {}, "Sign in"),
    h("p", { id: "where", class: "muted small" }, "The token is in the address that ", h("code", {}, "modicd page-url"), " prints on the box."),
    message ? h("p", { class: "notice bad", role: "alert" }, message) : null,
    h("label", {}, "Token", token),
    h("button", { class: "primary" }, "Sign in"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(token.value);
  });
  main.replaceChildren(form);
  token.focus();
}

async function enter(token) {
  try {
    if (!(await signIn(token))) return askForToken("That is not the token of this box.");
  } catch (error) {
    const tooMany = error instanceof Refused && error.status === 429;
    return askForToken(tooMany ? "Too many wrong tokens: wait a moment." : "The box doesn't answer.");
  }
  begin();
}

function begin() {
  isSignedIn = true;
  find("sign-out").hidden = false;
  follow();
  route();
  // When the list is there, what an exam needs is made ready.
  const ahead = () => viewer.prepare().catch(() => {});
  if ("requestIdleCallback" in window) requestIdleCallback(ahead, { timeout: 1500 });
  else setTimeout(ahead, 300);
}

/** Browsers make six connections to the box in all, so a tab that nobody sees holds none. */
function follow() {
  if (isSignedIn && !document.hidden) live.start();
  else live.stop();
}

document.addEventListener("visibilitychange", follow);
live.addEventListener("connected", ({ detail }) => {
  find("link").textContent = detail ? "" : "No connection to the box";
});
live.addEventListener("health", ({ detail }) => {
  find("health-dot").hidden = detail.health.status === "ok";
  find("health-dot").title = detail.health.status;
});
signedOut.addEventListener("needed", () => { if (isSignedIn) askForToken("Please sign in again."); });
find("sign-out").addEventListener("click", async () => {
  main.querySelector(".still-signed-in")?.remove();
  try {
    await signOut();
  } catch {
    if (isSignedIn) stillSignedIn();
    return;
  }
  askForToken();
});
startTheme(find("theme"));
startSkip(main);
startKeys(find("shortcuts"), find("help"));
addEventListener("hashchange", () => {
  const token = takeToken();
  if (token) enter(token);
  else route();
});

function stillSignedIn() {
  main.prepend(h("p", { class: "notice bad still-signed-in", role: "alert" }, "Signing out failed: you are still signed in. Try again."));
  scrollTo(0, 0);
}

/** The token in the address is swapped for the cookie, and goes from the address and its history. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", "#/");
  return token;
}

const given = takeToken();
if (given) enter(given);
else getJson("/api/exams").then(begin, (error) => askForToken(error.status === 401 ? null : "The box doesn't answer."));

// A reader's page: shows the exam that is next, or why there is none.

import { h, isTyping, startSkip } from "../dom.js";
import { time } from "../format.js";
import { showShortcuts } from "../keys.js";
import { startTheme } from "../theme.js";
import { Viewer } from "../viewer.js";
import { Desk, seat } from "./desk.js";
import { ExamView } from "./exam.js";

const find = (id) => document.getElementById(id);
const main = find("main");
const viewer = new Viewer();
let desk = null;
let view = null;

async function next() {
  view?.end();
  view = null;
  let standing;
  try {
    standing = await desk.standing();
  } catch (error) {
    return tell(error.status === 401 ? "This link doesn't open a reading list. Ask who sent it for a new one." : `The box doesn't answer. ${error.message}`, true);
  }
  find("who").textContent = `${standing.list} · ${standing.reader}`;
  if (standing.state === "done") return tell("You have graded all exams in both sessions. Thank you.");
  if (standing.state === "washout") {
    return tell(["You have graded all exams of the first session. The second one, with the Modic map, opens ", time(standing.opens_ms), "; use this link again then."]);
  }
  view = new ExamView(main, desk, viewer, standing, next);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
  try {
    await view.open();
  } catch (error) {
    if (error.name === "AbortError") return;
    tell(`The exam can't be shown. ${error.message}`, true);
  }
}

function tell(text, isBad = false) {
  view?.end();
  view = null;
  const again = h("button", { type: "button", onclick: next }, "Look again");
  main.replaceChildren(h("section", { class: "card told" }, h("h1", {}, "Reading list"),
    h("p", { class: isBad ? "notice bad" : null, role: isBad ? "alert" : "status" }, ...[text].flat()), desk && again));
}

const help = () => showShortcuts(find("shortcuts"), [...(view?.shortcuts ?? []), ["?", "This list"]]);

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") help();
  else {
    const own = view?.shortcuts.find(([key]) => key.split(" ").includes(event.key));
    const isPress = event.key === "Enter" && event.target.closest("button, a");
    // Held down, Enter would hand in the next exam as well.
    const isHeld = event.key === "Enter" && event.repeat;
    if (!own || isPress || isHeld || (view.isPaused && event.key !== "p")) return;
    own[2]();
  }
  event.preventDefault();
});

// Keys grade, whatever the mouse chose last: a control keeps the focus only when it was reached with the Tab key, or while
// the arrow keys change it.
let isPointed = false;
const release = () => { if (!view?.isPaused) main.focus({ preventScroll: true }); };
addEventListener("pointerdown", () => { isPointed = true; }, { capture: true });
addEventListener("keydown", ({ key }) => { if (/^(Tab|Arrow)/.test(key)) isPointed = false; }, { capture: true });
document.addEventListener("click", ({ detail, target }) => {
  if (detail > 0 && target.closest("button, input[type=range]")) release();
});
document.addEventListener("change", ({ target }) => {
  // A field that is left changes before the next one has the focus, which is to keep it.
  setTimeout(() => { if (isPointed && document.activeElement === target) release(); });
});

find("help").addEventListener("click", help);
startTheme(find("theme"));
startSkip(main);
// A link that is pasted over this one leads to the same page: the browser doesn't load it by itself.
addEventListener("hashchange", () => { if (location.hash) location.reload(); });

const place = seat();
if (place) {
  desk = new Desk(place);
  next();
} else {
  tell("Open the link that you were sent.", true);
}

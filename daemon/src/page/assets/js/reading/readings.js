// Reading lists for who runs the experiment: make one, send the links, watch, take gradings out and in, see the agreement.

import { getJson, post } from "../api.js";
import { h, startSkip } from "../dom.js";
import { time } from "../format.js";
import { startTheme } from "../theme.js";

const main = document.getElementById("main");
const AGREEMENT = [["type", "by type"], ["change", "any change"], ["grade", "by grade"]];

/** Links are told once: those that this page was told, by list and reader. */
const links = new Map();

async function show(message) {
  try {
    const [readings, { exams }] = await Promise.all([getJson("/api/readings"), getJson("/api/exams")]);
    main.replaceChildren(h("h1", {}, "Reading lists"),
      message ? h("p", { class: "notice", role: "status" }, message) : "",
      ...readings.map(card), form(exams));
  } catch (error) {
    const signIn = h("p", {}, "Please ", h("a", { href: "/" }, "sign in"), " first.");
    main.replaceChildren(h("h1", {}, "Reading lists"), error.status === 401 ? signIn : h("p", { class: "notice bad", role: "alert" }, error.message));
  }
}

function card({ name, studies, readers, washout_days, seed }) {
  const row = (reader) => {
    const link = links.get(`${name} ${reader.name}`);
    const renew = h("button", { type: "button", onclick: () => renewLink(name, reader.name) }, "New link");
    return h("tr", {}, h("th", { scope: "row" }, reader.name),
      h("td", { class: "number" }, `${reader.blind} of ${studies.length}`),
      h("td", { class: "number" }, `${reader.with_map} of ${studies.length}`),
      h("td", {}, link ? h("input", { readonly: true, value: link, class: "link", "aria-label": `Link of ${reader.name}`, onfocus: (event) => event.target.select() }) : renew));
  };
  const head = ["Reader", "Blind", "With the map", "Link"];
  const file = h("input", { type: "file", accept: ".csv,text/csv", "aria-label": `Gradings to import into ${name}`, onchange: () => importTable(name, file) });
  const base = `/api/readings/${name}`;
  return h("section", { class: "card reading-list" },
    h("h2", {}, name),
    h("p", { class: "muted small" }, `exams: ${studies.length}, washout: ${washout_days} d, seed: ${seed}`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Readers of ${name}` }, h("table", {}, h("thead", {}, h("tr", {}, ...head.map((text, k) => h("th", { scope: "col", class: k === 1 || k === 2 ? "number" : null }, text)))),
      h("tbody", {}, ...readers.map(row)))),
    h("p", { class: "actions" },
      h("a", { href: `${base}/gradings.csv` }, "Export gradings (CSV)"),
      h("label", {}, "Import gradings ", file)),
    h("p", { class: "actions" }, "Agreement: ", ...AGREEMENT.map(([by, text]) => h("a", { href: `${base}/agreement.html?by=${by}`, target: "_blank" }, text))));
}

function form(exams) {
  const done = exams.filter((exam) => exam.revision);
  const input = (label, attributes) => {
    const field = h("input", attributes);
    return [field, h("label", {}, label, field)];
  };
  const [name, nameLabel] = input("Name", { required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,31}", title: "1 to 32 letters, digits, dots, hyphens and underscores" });
  const [readers, readersLabel] = input("Readers' pseudonyms, with commas between", { required: true });
  const [washout, washoutLabel] = input("Washout, days", { type: "number", min: "0", max: "3650", value: "28", required: true });
  const [seed, seedLabel] = input("Seed of the orders", { type: "number", min: "0", value: "1", required: true });
  const boxes = done.map((exam) => h("input", { type: "checkbox", value: exam.study_ref }));
  const choose = (isChosen) => () => boxes.forEach((box) => { box.checked = isChosen; });
  const choices = done.map((exam, index) => h("li", {}, h("label", {}, boxes[index], h("span", { class: "mono" }, exam.study_ref), " ", time(exam.received_ms))));
  const element = h("form", { class: "card reading-list new" }, h("h2", {}, "New reading list"),
    h("div", { class: "fields" }, nameLabel, readersLabel, washoutLabel, seedLabel),
    h("fieldset", {}, h("legend", {}, "Exams"),
      h("p", { class: "actions" }, h("button", { type: "button", onclick: choose(true) }, "All"), h("button", { type: "button", onclick: choose(false) }, "None")),
      done.length ? h("ul", { class: "choices" }, ...choices) : h("p", { class: "muted" }, "No exam has a result yet.")),
    h("button", { class: "primary" }, "Make the list"));
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    make({
      name: name.value.trim(),
      readers: readers.value.split(",").map((reader) => reader.trim()).filter(Boolean),
      studies: boxes.filter((box) => box.checked).map((box) => box.value),
      washout_days: washout.valueAsNumber,
      seed: seed.valueAsNumber,
    });
  });
  return element;
}

const remember = (list, { reader, link }) => links.set(`${list} ${reader}`, new URL(link, location.href).href);

/** Does something, then shows the lists with what came of it; when it fails, what is filled in stays. */
async function attempt(action) {
  const response = await action().catch((error) => error);
  if (response instanceof Error) complain(`That didn't work. ${response.message}`);
  else await show(response);
}

function complain(message) {
  const notice = h("p", { class: "notice bad", role: "alert" }, message);
  main.querySelector(".notice")?.remove();
  main.querySelector("h1").after(notice);
  notice.scrollIntoView({ block: "center" });
}

/** Says why, when the box refuses. */
async function send(path, headers, body) {
  const response = await fetch(path, { method: "POST", headers, body });
  if (response.status === 401) throw new Error("Please sign in first, in another tab.");
  if (!response.ok) throw new Error((await response.text()) || `The box answered ${response.status}.`);
  return response.json();
}

const make = (list) => attempt(async () => {
  const made = await send("/api/readings", { "content-type": "application/json" }, JSON.stringify(list));
  made.forEach((link) => remember(list.name, link));
  return "The list is made. Send each reader their link now: it isn't shown again.";
});

const renewLink = (list, reader) => attempt(async () => {
  remember(list, await (await post(`/api/readings/${list}/readers/${reader}/link`, {})).json());
  return `${reader} has a new link; the old one opens nothing any more.`;
});

const importTable = (list, input) => attempt(async () => {
  const [file] = input.files;
  // Corrected, a file of the same name may be chosen again.
  input.value = "";
  const { new: count } = await send(`/api/readings/${list}/gradings.csv`, { "content-type": "text/csv" }, file);
  return `Imported: ${count} exams are new.`;
});

startTheme(document.getElementById("theme"));
startSkip(main);
show();

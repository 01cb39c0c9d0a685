// The list of exams, newest first, kept up to date.

import { getJson } from "./api.js";
import { h } from "./dom.js";
import { time, typeChip, typeName } from "./format.js";
import { setShortcuts } from "./keys.js";
import { live } from "./live.js";

const STATES = ["receiving", "waiting", "analysing", "done", "rejected", "failed"];
const TYPES = ["1", "2", "3", "indeterminate"];
/** What is chosen stays while the page is open. */
const chosen = { state: "", type: "", text: "" };

/** Exams as last listed, by study_ref: the exam's view needn't ask for its revision. */
export const known = new Map();

export function showExams(main) {
  const body = h("tbody");
  const count = h("span", { class: "count muted small", role: "status" });
  const empty = h("p", { class: "empty", hidden: true });
  const search = h("input", { type: "search", autocomplete: "off", spellcheck: "false", value: chosen.text });
  const choice = (name, options) => {
    const select = h("select", {}, h("option", { value: "" }, "any"), ...options.map(([value, text]) => h("option", { value }, text)));
    select.value = chosen[name];
    select.addEventListener("change", () => { chosen[name] = select.value; show(); });
    return select;
  };
  search.addEventListener("input", () => { chosen.text = search.value.trim().toLowerCase(); show(); });
  main.replaceChildren(
    h("h1", {}, "Exams"),
    h("div", { class: "filters", role: "search" },
      h("label", {}, "State", choice("state", STATES.map((state) => [state, state]))),
      h("label", {}, "Modic type", choice("type", TYPES.map((type) => [type, typeName(type)]))),
      h("label", {}, "Study", search), count),
    h("table", { class: "exams card" },
      h("thead", {}, h("tr", {}, ...["Study", "Received", "State", "Findings", "Quality", "Revision"].map((t) => h("th", { scope: "col" }, t)))),
      body), empty);

  let exams = [];
  let total = 0;
  let rows = new Map();
  let due = null;
  const show = () => {
    const shown = exams.filter(matches);
    const focused = document.activeElement?.dataset?.ref;
    rows = new Map(shown.map((exam) => [exam.study_ref, kept(rows.get(exam.study_ref), exam)]));
    arrange(body, [...rows.values()].map(({ element }) => element));
    if (focused && document.activeElement?.dataset?.ref !== focused) body.querySelector(`[data-ref="${focused}"]`)?.focus();
    count.textContent = shown.length === total ? `${total} ${total === 1 ? "exam" : "exams"}` : `${shown.length} of ${total} exams`;
    empty.hidden = shown.length > 0;
    empty.textContent = exams.length ? "No exam matches." : "No exam yet. Send one to the DICOM port.";
  };
  const refresh = async () => {
    try {
      ({ exams, total } = await getJson("/api/exams"));
    } catch {
      return; // The next event asks again.
    }
    known.clear();
    exams.forEach((exam) => known.set(exam.study_ref, exam));
    show();
    // That an exam begins to wait is no event.
    clearTimeout(due);
    const next = Math.min(...exams.map((exam) => exam.due_in_ms ?? Infinity));
    if (Number.isFinite(next)) due = setTimeout(refresh, next + 100);
  };
  live.addEventListener("exams", refresh);
  refresh();

  const move = (step) => {
    const links = [...body.querySelectorAll(".ref")];
    const at = links.indexOf(document.activeElement);
    links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  };
  setShortcuts([
    ["/", "Search a study", () => search.focus()],
    ["j ArrowDown", "Next exam", () => move(1)],
    ["k ArrowUp", "Previous exam", () => move(-1)],
    ["Enter", "Open it", () => {}],
  ]);
  return () => {
    clearTimeout(due);
    live.removeEventListener("exams", refresh);
  };
}

function matches({ state, study_ref, result }) {
  const types = Object.keys(result?.types ?? {});
  return (!chosen.state || chosen.state === state)
    && (!chosen.type || types.some((type) => type.split("-").includes(chosen.type)))
    && study_ref.includes(chosen.text);
}

/** The row of an exam as `{text, element}`: the one that stands there, unless the exam has changed. */
function kept(before, exam) {
  const text = JSON.stringify({ ...exam, due_in_ms: null });
  if (before?.text === text) return before;
  const element = row(exam);
  before?.element.replaceWith(element);
  return { text, element };
}

/** Makes `elements` the children; those that are in their place aren't touched, or a click that falls on them would be lost. */
function arrange(parent, elements) {
  const wanted = new Set(elements);
  [...parent.children].forEach((child) => { if (!wanted.has(child)) child.remove(); });
  elements.forEach((element, k) => { if (parent.children[k] !== element) parent.insertBefore(element, parent.children[k] ?? null); });
}

function row(exam) {
  const { study_ref, received_ms, state, reason, revision, result } = exam;
  const link = h("a", { class: "ref mono", href: `#/exam/${study_ref}`, "data-ref": study_ref }, study_ref);
  const open = (event) => { if (!event.target.closest("a")) location.hash = `#/exam/${study_ref}`; };
  return h("tr", { onclick: open, "data-state": state },
    h("td", {}, link),
    h("td", {}, time(received_ms)),
    h("td", {}, h("span", { class: `state ${state}` }, state),
      reason && h("div", { class: "why small" }, reason.meaning, " ", h("span", { class: "muted mono" }, reason.code))),
    h("td", {}, result && findings(result)),
    h("td", { class: "small" }, result && result.quality.map(({ code, meaning }) => h("div", { title: meaning }, code.replaceAll("_", " ")))),
    h("td", { "data-label": revision ? "Revision" : null }, revision ? String(revision) : null));
}

function findings({ finding_count, types, levels, other_lesions }) {
  const other = other_lesions > 0 && h("div", { class: "muted small" }, `${other_lesions} other marrow ${other_lesions === 1 ? "lesion" : "lesions"}`);
  if (!finding_count) return [h("span", { class: "muted" }, "no Modic change"), other || null];
  const chips = Object.entries(types).map(([type, n]) => typeChip(type, n > 1 ? `${typeName(type)} × ${n}` : typeName(type)));
  return [h("div", { class: "types" }, ...chips), h("div", { class: "muted small" }, levels.join(", ")), other || null];
}

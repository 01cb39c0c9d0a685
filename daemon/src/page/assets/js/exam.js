// One exam: its pictures, what was found, what must be known of it, and the files to take away.

import { getJson } from "./api.js";
import { h } from "./dom.js";
import { known } from "./exams.js";
import { discsTable, findingsTable, lesionsTable, regionsOf } from "./findings.js";
import { bytes, time } from "./format.js";
import { setShortcuts } from "./keys.js";
import { live } from "./live.js";
import { CannotDraw } from "./viewer.js";

/** Shows the exam `study_ref`, its newest result or the one that is asked for; gives what ends the view. */
export function showExam(main, viewer, study_ref, revision) {
  const view = new View(main, viewer, study_ref, revision);
  const changed = () => view.look().catch(() => {}); // The next event asks again.
  live.addEventListener("exams", changed);
  view.show(revision ?? known.get(study_ref)?.revision);
  return () => {
    live.removeEventListener("exams", changed);
    view.isOver = true;
    viewer.close();
  };
}

class View {
  constructor(main, viewer, study_ref, asked) {
    Object.assign(this, { main, viewer, study_ref, asked, shown: null, isOver: false });
  }

  /** Shows a result, or where the exam stands when it has none. */
  async show(revision) {
    try {
      if (!revision) return await this.look();
      const files = `/api/exams/${this.study_ref}/${revision}`;
      // The pictures needn't wait for what is said about them.
      const volumes = this.viewer.fetch(files);
      const result = await getJson(files);
      if (!this.isOver) await this.#build(result, files, volumes);
    } catch (error) {
      if (this.isOver || error.name === "AbortError") return;
      const text = error.status === 404 ? "There is no such exam here." : `The exam can't be shown. ${error.message}`;
      this.main.replaceChildren(head(this.study_ref), h("p", { class: "notice bad", role: "alert" }, text));
    }
  }

  /** Asks how the exam is now; a first or newer result is shown, or offered where another was asked for. */
  async look() {
    const exam = await getJson(`/api/exams/${this.study_ref}`);
    if (this.isOver) return;
    if (exam.revision && !this.shown) return this.show(exam.revision);
    if (exam.revision > this.shown) this.#offer(exam.revision);
    if (!this.shown) this.#standing(exam);
  }

  #standing({ state, reason, received_ms }) {
    this.main.replaceChildren(head(this.study_ref),
      h("section", { class: "notice" }, h("p", {}, h("span", { class: `state ${state}` }, state), " · received ", time(received_ms)),
        reason && h("p", {}, reason.meaning, " ", h("span", { class: "muted mono" }, reason.code)),
        !reason && h("p", { class: "muted" }, "The result appears here when it is made.")));
  }

  #offer(revision) {
    if (this.main.querySelector(".newer")) return;
    const link = h("a", { href: `#/exam/${this.study_ref}/${revision}` }, `Show revision ${revision}`);
    this.main.prepend(h("p", { class: "notice newer", role: "status" }, "There is a newer result. ", link));
  }

  async #build(result, files, volumes) {
    const { document, scene, types, revision } = result;
    this.shown = revision;
    const lesions = document.other_marrow_lesions;
    const regions = scene ? regionsOf(scene, document.findings) : [];
    const choose = (index) => this.#select(index, regions);
    const table = findingsTable(document.findings, choose);
    this.table = table;
    const stage = scene ? this.viewer.element : noPictures(files, result.downloads);
    this.main.replaceChildren(
      head(this.study_ref, result),
      h("div", { class: "exam" },
        h("div", { class: "stage" }, stage, h("section", { class: "card files" }, h("h2", {}, "Files"), downloads(files, result.downloads))),
        h("div", { class: "side" }, table, discsTable(document.discs),
          lesionsTable(lesions, (index) => choose(document.findings.length + index)), flags(result), about(result))));
    if (!scene) return setShortcuts([]);
    this.viewer.controls.explain(types);
    this.#listen(regions);
    setShortcuts(this.#shortcuts(regions));
    try {
      await this.viewer.open(volumes, { scene, regions, types });
    } catch (error) {
      if (this.isOver || error.name === "AbortError") return;
      // What was found can be read all the same.
      const text = error instanceof CannotDraw ? "The pictures can't be drawn." : "The pictures could not be loaded; reload the page to try again.";
      this.viewer.element.replaceWith(h("p", { class: "notice bad", role: "alert" }, `${text} ${error.message}`));
    }
  }

  #listen(regions) {
    const { viewer, table } = this;
    viewer.onslice = () => table.at(viewer.slice, regions);
    viewer.onpick = (index) => this.#select(index, regions);
  }

  #select(index, regions) {
    this.table.select(index);
    this.viewer.select(index, regions[index]);
  }

  #shortcuts(regions) {
    const { viewer } = this;
    const step = (by) => {
      const next = viewer.selected === null ? (by > 0 ? 0 : regions.length - 1) : viewer.selected + by;
      if (next in regions) this.#select(next, regions);
    };
    return [
      ["ArrowUp ArrowLeft", "Previous slice, to the patient's right", () => { viewer.slice -= 1; }],
      ["ArrowDown ArrowRight", "Next slice, to the patient's left", () => { viewer.slice += 1; }],
      ["o", "Modic map on and off", () => { viewer.isOn = !viewer.isOn; }],
      ["+", "Map less transparent", () => { viewer.opacity += 0.1; }],
      ["-", "Map more transparent", () => { viewer.opacity -= 0.1; }],
      ["n", "Next finding", () => step(1)],
      ["p", "Previous finding", () => step(-1)],
      ["r", "Reset window and level", () => viewer.resetWindows()],
    ];
  }
}

function head(study_ref, result) {
  const parts = [h("a", { class: "back", href: "#/" }, "← Exams"), h("h1", {}, "Exam ", h("span", { class: "mono" }, study_ref))];
  if (result) {
    const { revision, revisions, document } = result;
    const select = h("select", { onchange: () => { location.hash = `#/exam/${study_ref}/${select.value}`; } },
      ...[...revisions].reverse().map((r) => h("option", { value: String(r) }, String(r))));
    select.value = String(revision);
    const isOld = revision !== Math.max(...revisions);
    parts.push(h("label", { class: "small muted" }, "Revision ", select), h("span", { class: "small muted" }, "analysed ", time(document.time)),
      isOld ? h("span", { class: "state rejected" }, "not the newest") : null);
  }
  return h("div", { class: "exam-head" }, ...parts.filter(Boolean));
}

function noPictures(files, downloads) {
  const picture = downloads.find(({ name }) => name.endsWith(".png"));
  return h("section", { class: "card" }, h("p", {}, "This result was made by an earlier version, which kept no pictures to scroll through. ",
    "Sent again after a change, or analysed by this version, the exam gets them."),
    picture ? h("p", {}, h("img", { src: `${files}/${picture.name}`, alt: "T1 and T2 of the slices with findings, the map over them", class: "still" })) : null);
}

function flags({ quality, refused_series, document }) {
  const flag = ({ code, meaning }) => h("li", {}, h("b", {}, code.replaceAll("_", " ")), meaning);
  const series = refused_series.map((reason, k) => {
    const { series_number_in_study, weighting } = document.refused_series[k];
    return h("li", {}, h("b", {}, `Series ${series_number_in_study} (${weighting}) not analysed`), reason.meaning);
  });
  const suppressed = document.fat_suppressed_series.length
    ? [h("li", {}, h("b", {}, "fat-suppressed series present"), `${document.fat_suppressed_series.join(", ")}: it shows type 1 better; look at it.`)] : [];
  const items = [...quality.map(flag), ...suppressed, ...series];
  return h("section", { class: "card" }, h("h2", {}, "Quality"),
    items.length ? h("ul", { class: "flags small" }, ...items) : h("p", { class: "muted" }, "Nothing makes the result doubtful."));
}

function about({ document }) {
  const { limits, numbering_confidence, software, bundles, typing, levels } = document;
  const rows = [
    ["Levels seen", levels.map(({ level }) => level).join(", ")],
    ["Numbering", `confidence ${Math.round(100 * numbering_confidence)} %`],
    ["Software", `${software}, typing ${typing.typing_version}`],
    ...bundles.map(({ name, version, sha256 }) => [`Network ${name}`, h("span", { title: sha256 }, `${version}, ${sha256.slice(0, 12)}`)]),
  ];
  return h("section", { class: "card flush" }, h("h2", {}, "Limits"),
    h("ul", { class: "limits small" }, ...limits.map((limit) => h("li", {}, limit[0].toUpperCase() + limit.slice(1)))),
    h("dl", { class: "details" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function downloads(files, list) {
  const link = ({ name, title, bytes: size, names_patient }) => h("li", {},
    h("a", { href: `${files}/${name}`, download: "" }, title), size ? h("span", { class: "muted small" }, ` ${bytes(size)}`) : null,
    names_patient ? h("span", { class: "muted small" }, " · names the patient") : null);
  return h("ul", { class: "downloads small" }, ...list.map(link));
}

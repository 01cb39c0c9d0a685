// An exam as a reader sees it: the pictures, in the second session the map and the findings, and the grades to give.

import { h } from "../dom.js";
import { findingsTable, regionsOf } from "../findings.js";
import * as draft from "./draft.js";
import { Grades } from "./grades.js";
import { Stopwatch } from "./stopwatch.js";

const BLIND = "blind";
const SAVE_MS = 5000;
/** Bytes of a NIfTI-1 header with its extension flag. */
const NIFTI_HEADER = 352;

export class ExamView {
  #desk;
  #standing;
  #viewer;
  #opening = new AbortController();
  #saving = null;
  /** What had the focus before a pause. */
  #focused = null;

  /** `onhandedin()` is called when the box has taken the grades, or has another exam open. */
  constructor(main, desk, viewer, standing, onhandedin) {
    this.#desk = desk;
    this.#standing = standing;
    this.#viewer = viewer;
    const { grades, seconds } = draft.load(standing);
    this.watch = new Stopwatch(seconds);
    this.grades = new Grades(standing.endplates, grades, () => this.#changed());
    this.onhandedin = onhandedin;
    this.#build(main);
    this.#saving = setInterval(() => this.#save(), SAVE_MS);
  }

  get #isBlind() {
    return this.#standing.session === BLIND;
  }

  #build(main) {
    const { session, done, exams, study_ref } = this.#standing;
    this.button = h("button", { type: "button", class: "primary hand-in", "aria-keyshortcuts": "Enter", onclick: () => this.handIn() });
    this.pauseButton = h("button", { type: "button", "aria-keyshortcuts": "p", onclick: () => this.pause() }, "Pause");
    this.said = h("p", { class: "small", role: "status" });
    this.side = h("div", { class: "side" },
      h("section", { class: "card" }, h("h2", {}, "Endplates"), this.grades.element,
        h("div", { class: "last" }, this.button, this.pauseButton), this.said));
    this.covered = h("div", { class: "covered card", hidden: true }, h("p", {}, "Paused. The time stands still."),
      h("button", { type: "button", class: "primary", onclick: () => this.pause() }, "Continue"));
    this.page = h("div", { class: `exam ${this.#isBlind ? "blind" : "mapped"}` }, h("div", { class: "stage" }, this.#viewer.element), this.side);
    main.replaceChildren(
      h("div", { class: "exam-head" },
        h("h1", {}, `Exam ${done + 1} of ${exams}`),
        h("p", { class: "muted" }, session === BLIND ? "First session: the pictures alone" : "Second session: with the Modic map", " · ",
          h("span", { class: "mono" }, study_ref))),
      this.page, this.covered);
    this.#changed();
  }

  async open() {
    const { signal } = this.#opening;
    const volume = (name) => this.#desk.volume(this.#standing, name, signal);
    const pictures = Promise.all([volume("t1.nii"), volume("t2.nii")]);
    const map = this.#isBlind ? null : volume("modic_map.nii");
    pictures.catch(() => {});
    map?.catch(() => {});
    const { scene, types, findings } = await this.#desk.exam(this.#standing, signal);
    const [t1, t2] = await pictures;
    const buffers = [t1, t2, map ? await map : emptyMap(t1, scene.grid)];
    const regions = regionsOf(scene, findings);
    if (findings) this.#tell(findings, regions, types);
    await this.#viewer.open({ signal, buffers }, { scene, regions, types });
    if (signal.aborted) return;
    // Until now the viewer still had the pictures of the exam before, covered.
    this.page.dataset.state = "open";
    this.#start();
  }

  /** The time goes while there are pictures to see. */
  #start() {
    if (this.page.dataset.state === "open" && !this.isPaused) this.watch.start();
  }

  /** Shows what the program found. */
  #tell(findings, regions, types) {
    const viewer = this.#viewer;
    viewer.controls.explain(types);
    const choose = (index) => {
      table.select?.(index);
      viewer.select(index, regions[index]);
    };
    const table = findingsTable(findings, choose);
    viewer.onslice = () => table.at?.(viewer.slice, regions);
    viewer.onpick = choose;
    this.side.append(table);
  }

  get shortcuts() {
    const viewer = this.#viewer;
    const ofMap = [["o", "Modic map on and off", () => { viewer.isOn = !viewer.isOn; }]];
    return [
      ...this.grades.shortcuts,
      ["Enter", "Hand in", () => this.handIn()],
      ["ArrowUp ArrowLeft", "Previous slice, to the patient's right", () => { viewer.slice -= 1; }],
      ["ArrowDown ArrowRight", "Next slice, to the patient's left", () => { viewer.slice += 1; }],
      ...(this.#isBlind ? [] : ofMap),
      ["r", "Reset window and level", () => viewer.resetWindows()],
      ["p", "Pause and go on", () => this.pause()],
    ];
  }

  get isPaused() {
    return !this.covered.hidden;
  }

  /** Covers the pictures and stops the time, or goes on. */
  pause() {
    const pauses = !this.isPaused;
    if (pauses) this.#focused = document.activeElement;
    this.covered.hidden = !pauses;
    this.page.hidden = pauses;
    if (pauses) this.watch.pause();
    else this.#start();
    this.#save();
    (pauses ? this.covered.querySelector("button") : this.#focused).focus({ preventScroll: true });
  }

  async handIn() {
    if (!this.grades.isWhole || this.button.disabled || this.isPaused) return;
    this.button.disabled = true;
    const seconds = Math.round(this.watch.seconds * 10) / 10;
    try {
      await this.#desk.handIn(this.#standing, { grades: this.grades.grades, seconds });
    } catch (error) {
      // Handed in before, but the answer was lost: what is open now is asked.
      if (error.status === 403) return this.onhandedin();
      this.#changed();
      this.said.textContent = `Not handed in: ${error.message} Your grades are kept here; try again.`;
      return;
    }
    draft.drop(this.#standing);
    this.onhandedin();
  }

  end() {
    this.#opening.abort();
    clearInterval(this.#saving);
    this.watch.end();
    this.#viewer.close();
  }

  #changed() {
    const { count, isWhole } = this.grades;
    this.button.disabled = !isWhole;
    this.button.textContent = isWhole ? "Hand in" : `${count} of ${this.#standing.endplates.length} graded`;
    this.said.textContent = isWhole ? "All graded. What is handed in can't be changed." : "";
    this.#save();
  }

  #save() {
    draft.save(this.#standing, this.grades.grades, this.watch.seconds);
  }
}

/** A map without any change, on the grid of T1: the viewer takes a map, and the box gives none in the first session. */
function emptyMap(t1, { shape: [slices, rows, columns] }) {
  const [uint8, bits] = [2, 8];
  const map = new ArrayBuffer(NIFTI_HEADER + slices * rows * columns);
  new Uint8Array(map).set(new Uint8Array(t1, 0, NIFTI_HEADER));
  const header = new DataView(map);
  header.setInt16(70, uint8, true);
  header.setInt16(72, bits, true);
  header.setFloat32(108, NIFTI_HEADER, true);
  header.setFloat32(112, 1, true);
  header.setFloat32(116, 0, true);
  return map;
}

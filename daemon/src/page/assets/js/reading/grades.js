// The form in which a reader grades the endplates of an exam.

import { h } from "../dom.js";

const SINGLE = [["0", "none"], ["1", "type 1"], ["2", "type 2"], ["3", "type 3"]];
const MIXED = ["1-2", "2-1", "1-3", "3-1", "2-3", "3-2"];
const NOT_GRADABLE = "not gradable";

/** `onchange()` is called after each change; `grades` holds what was said, by endplate. */
export class Grades {
  #endplates;
  #rows;
  #at = 0;

  constructor(endplates, grades, onchange) {
    this.#endplates = endplates;
    this.grades = grades;
    this.onchange = onchange;
    this.#rows = endplates.map((endplate, index) => this.#row(endplate, index));
    this.element = h("div", { class: "grades", role: "group", "aria-label": "Grade of each endplate" },
      ...this.#rows.map(({ element }) => element));
    this.at = Math.max(endplates.findIndex((endplate) => !(endplate in grades)), 0);
    this.#show();
  }

  get count() {
    return Object.keys(this.grades).length;
  }

  get isWhole() {
    return this.count === this.#endplates.length;
  }

  /** The endplate that keys grade. */
  get at() {
    return this.#at;
  }

  set at(index) {
    this.#at = Math.min(Math.max(index, 0), this.#endplates.length - 1);
    this.#rows.forEach(({ element }, k) => {
      if (k === this.#at) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
    });
    this.#rows[this.#at].element.scrollIntoView({ block: "nearest" });
  }

  /** Grades the endplate that is current, and goes to the next one. */
  say(grade, next = true) {
    this.grades[this.#endplates[this.#at]] = grade;
    this.#show();
    if (next) this.at += 1;
    this.onchange();
  }

  /** The next mixed grade for the endplate that is current. */
  mix() {
    const now = MIXED.indexOf(this.grades[this.#endplates[this.#at]]);
    this.say(MIXED[(now + 1) % MIXED.length], false);
  }

  get shortcuts() {
    return [
      ...SINGLE.map(([key, name]) => [key, `Grade: ${name}`, () => this.say(key)]),
      ["m", "Grade: mixed, once for each of 1-2, 2-1, 1-3, 3-1, 2-3, 3-2", () => this.mix()],
      ["x", "Grade: not gradable", () => this.say(NOT_GRADABLE)],
      ["j", "Next endplate", () => { this.at += 1; }],
      ["k", "Endplate before", () => { this.at -= 1; }],
    ];
  }

  #row(endplate, index) {
    const say = (grade) => {
      this.at = index;
      this.say(grade);
    };
    const button = (grade, text, title) => h("button", { type: "button", title, "aria-label": `${text}, ${title}, ${endplate}`, onclick: () => say(grade) }, text);
    const buttons = new Map([
      ...SINGLE.map(([grade, title]) => [grade, button(grade, grade, title)]),
      [NOT_GRADABLE, button(NOT_GRADABLE, "n/g", NOT_GRADABLE)],
    ]);
    const mixed = h("select", { "aria-label": `${endplate}: mixed`, onchange: () => { if (mixed.value) say(mixed.value); } },
      h("option", { value: "" }, "mixed"), ...MIXED.map((grade) => h("option", { value: grade }, grade)));
    const [single, last] = [SINGLE.map(([grade]) => buttons.get(grade)), buttons.get(NOT_GRADABLE)];
    const name = h("span", { class: "name" }, endplate);
    name.addEventListener("click", () => { this.at = index; });
    const element = h("div", { class: "grade", role: "group", "aria-label": endplate }, name, ...single, mixed, last);
    return { element, buttons, mixed };
  }

  #show() {
    this.#rows.forEach(({ buttons, mixed, element }, index) => {
      const grade = this.grades[this.#endplates[index]];
      buttons.forEach((button, of) => button.setAttribute("aria-pressed", String(of === grade)));
      mixed.value = MIXED.includes(grade) ? grade : "";
      element.classList.toggle("said", grade !== undefined);
    });
  }
}

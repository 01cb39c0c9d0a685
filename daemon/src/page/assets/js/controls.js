// What steers the viewer: slice, map, window. Shows what the viewer has, changes it, owns nothing.

import { h } from "./dom.js";
import { typeChip } from "./format.js";

const SERIES = ["T1", "T2"];

export class Controls {
  #viewer;
  #windows = [];

  constructor(viewer) {
    this.#viewer = viewer;
    this.slice = h("input", { type: "range", min: "0", max: "0", step: "1", "aria-label": "Slice", oninput: () => { viewer.slice = this.slice.valueAsNumber; } });
    this.count = h("output", {}, "–");
    this.map = h("button", { type: "button", "aria-pressed": "true", "aria-keyshortcuts": "o", onclick: () => { viewer.isOn = !viewer.isOn; } }, "Modic map");
    this.opacity = h("input", { type: "range", min: "0", max: "100", step: "5", "aria-label": "Opacity of the map", oninput: () => { viewer.opacity = this.opacity.valueAsNumber / 100; } });
    this.percent = h("output", {});
    this.legend = h("ul", { class: "legend", "aria-label": "Colours of the map" });
    this.element = h("div", { class: "controls" },
      h("div", {},
        h("label", { class: "slice" }, "Slice", this.slice, this.count),
        this.map,
        h("label", {}, "Opacity", this.opacity, this.percent)),
      h("div", {}, ...SERIES.map((name, series) => this.#window(name, series)),
        h("button", { type: "button", "aria-keyshortcuts": "r", onclick: () => viewer.resetWindows() }, "Reset")),
      this.legend);
    this.update();
  }

  #window(name, series) {
    const number = (label, toWindow) => {
      const change = () => this.#viewer.setWindow(series, toWindow(input.valueAsNumber || 0, this.#viewer.windowOf(series)));
      const input = h("input", { type: "number", step: "10", "aria-label": `${label} of ${name}`, onchange: change });
      return input;
    };
    const width = number("Window", (value, [black, white]) => {
      const centre = (black + white) / 2;
      return [centre - Math.max(value, 1) / 2, centre + Math.max(value, 1) / 2];
    });
    const level = number("Level", (value, [black, white]) => [value - (white - black) / 2, value + (white - black) / 2]);
    this.#windows[series] = { width, level };
    return h("fieldset", {}, h("legend", {}, name),
      h("label", {}, "Window", width), h("label", {}, "Level", level));
  }

  /** Says what the values of the map mean. */
  explain(types) {
    const chip = ({ value, name }) => typeChip(value === 4 ? "indeterminate" : String(value), name);
    this.legend.replaceChildren(...types.map((type) => h("li", {}, chip(type))));
  }

  /** Another exam is shown. */
  opened(slices) {
    this.slice.max = String(slices - 1);
  }

  /** Shows what the viewer has now. */
  update() {
    const { slice, slices, opacity, isOn } = this.#viewer;
    this.slice.value = String(slice);
    this.slice.setAttribute("aria-valuetext", `slice ${slice + 1} of ${slices}`);
    this.count.value = slices ? `${slice + 1} / ${slices}` : "–";
    this.map.setAttribute("aria-pressed", String(isOn));
    this.opacity.value = String(Math.round(opacity * 100));
    this.percent.value = `${Math.round(opacity * 100)} %`;
    this.#windows.forEach(({ width, level }, series) => {
      const [black, white] = this.#viewer.windowOf(series);
      width.value = String(Math.round(white - black));
      level.value = String(Math.round((white + black) / 2));
    });
  }
}

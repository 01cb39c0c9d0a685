// One picture, T1 or T2, with the Modic map over it: niivue draws the voxels, an SVG above it the names and marks.

import { h, svg } from "./dom.js";
import { inPlane } from "./frames.js";

/** niivue's name for the plane of a frame. */
const IN_PLANE = 0;
const OPTIONS = {
  interactive: false,
  dragAndDropEnabled: false,
  sliceType: IN_PLANE,
  crosshairWidth: 0,
  isOrientationTextVisible: false,
  isNearestInterpolation: true,
  backColor: [0, 0, 0, 1],
  loadingText: "",
  showLegend: false,
  logLevel: "error",
};
/** Distance of a mark's sign from its box, px. */
const SIGN_PX = 5;

export class Pane {
  #niivue = null;
  #grid = null;
  #names = [];
  #regions = [];
  #slice = 0;
  #selected = null;
  #marked = true;

  constructor(name) {
    this.name = name;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.svg = svg("svg", { "aria-hidden": "true" });
    this.element = h("figure", { class: "pane", "data-series": name },
      h("div", { class: "screen" }, this.canvas), this.svg,
      h("figcaption", {}, name),
      h("span", { class: "side-letter anterior", "aria-hidden": "true" }, "A"),
      h("span", { class: "side-letter posterior", "aria-hidden": "true" }, "P"),
      h("span", { class: "burned", "aria-hidden": "true" }, "Research use"));
    new ResizeObserver(() => requestAnimationFrame(() => this.#annotate())).observe(this.element);
  }

  /** Makes niivue ready, which takes a while once; the canvas may still be hidden. */
  async attach(Niivue) {
    this.#niivue = new Niivue(OPTIONS);
    await this.#niivue.attachToCanvas(this.canvas, false);
    // niivue is told to look voxels up, as the map's are; the picture is to be smooth.
    this.#niivue.onVolumeUpdated = () => this.#niivue.updateInterpolation(0, true);
  }

  /** Shows a picture and the map over it, as frames; `names` are vertebrae, `regions` what is marked. */
  show(image, map, slice, { grid, names, regions }) {
    this.#grid = grid;
    this.#names = names;
    this.#regions = regions;
    this.#niivue.resizeListener();
    this.#niivue.volumes = [image, map];
    this.#setFrame(slice);
    this.#niivue.setVolume(image, 0);
    this.#annotate();
  }

  get #image() {
    return this.#niivue.volumes[0];
  }

  get isShowing() {
    return this.#niivue?.volumes.length > 0;
  }

  get window() {
    return [this.#image.cal_min, this.#image.cal_max];
  }

  set window([black, white]) {
    this.#image.cal_min = black;
    this.#image.cal_max = white;
    this.#niivue.updateGLVolume();
  }

  set opacity(opacity) {
    this.#niivue.volumes[1].opacity = opacity;
    this.#niivue.updateGLVolume();
  }

  set slice(slice) {
    this.#setFrame(slice);
    this.#niivue.updateGLVolume();
    this.#annotate();
  }

  #setFrame(slice) {
    this.#slice = slice;
    this.#niivue.volumes.forEach((volume) => { volume.frame4D = slice; });
  }

  /** Which region is marked, and whether the others are. */
  mark(selected, marked) {
    this.#selected = selected;
    this.#marked = marked;
    this.#annotate();
  }

  /** Where on the picture a point of the patient is, px from its upper left corner; as if it lay on this slice. */
  project(point) {
    const niivue = this.#niivue;
    const at = niivue.frac2canvasPos(niivue.mm2frac(inPlane(point, this.#grid)));
    return at && at.map((pixels) => pixels / niivue.uiData.dpr);
  }

  #annotate() {
    if (!this.isShowing || !this.canvas.offsetWidth) return;
    const names = this.#names.map(({ level, label }) => {
      const at = this.project(label);
      return at && svg("text", { class: "level", x: Math.max(at[0], 24), y: at[1] }, level);
    });
    const marks = this.#regions.map((region, index) => this.#mark(region, index));
    this.svg.replaceChildren(...[...names, ...marks].filter(Boolean));
  }

  #mark({ parts, sign, kind }, index) {
    const selected = index === this.#selected;
    const part = parts.find(({ slice }) => slice === this.#slice);
    const corners = part && (this.#marked || selected) && part.corners.map((corner) => this.project(corner));
    if (!corners || corners.includes(null)) return null;
    const [[x0, x1], [y0, y1]] = [0, 1].map((k) => corners.map((corner) => corner[k]).sort((a, b) => a - b));
    const box = svg("rect", { x: x0 - 3, y: y0 - 3, width: x1 - x0 + 6, height: y1 - y0 + 6, rx: 2 });
    const text = svg("text", { x: x1 + SIGN_PX, y: y0 + SIGN_PX }, sign);
    return svg("g", { class: `mark ${kind}${selected ? " selected" : ""}`, "data-region": index }, box, text);
  }
}

// T1 and T2 side by side, scrolled together, with the Modic map over both.
//
// Knows pictures, slices, windows and regions; what the regions mean is for who uses it, who is told by `onslice()` and
// `onpick(index)`.

import { getBuffer } from "./api.js";
import { Controls } from "./controls.js";
import { h } from "./dom.js";
import { blank, slicesToFrames } from "./frames.js";
import { followPointer } from "./pointer.js";
import { Pane } from "./pane.js";

const MODULE = "/vendor/niivue-0.69.0.min.js";
const VOLUMES = ["t1.nii", "t2.nii", "modic_map.nii"];
const NOTHING = { grid: null, names: [], regions: [] };
const OPACITY = 0.55;

/** The browser has nothing to draw with. */
export class CannotDraw extends Error {}

export class Viewer {
  onslice = () => {};
  onpick = () => {};
  #panes = [new Pane("T1"), new Pane("T2")];
  #ready = null;
  #opened = null;
  #grid = null;
  #windows = [];
  #opacity = OPACITY;
  #isOn = true;
  #slice = 0;
  #selected = null;
  #frame = null;
  #pending = new Map();

  constructor() {
    this.controls = new Controls(this);
    this.panes = h("div", { class: "panes", role: "group", "aria-label": "T1 and T2, sagittal", tabindex: "0" },
      ...this.#panes.map((pane) => pane.element));
    this.element = h("div", { class: "viewer" }, this.panes, this.controls.element);
    this.#panes.forEach((pane, index) => followPointer(pane.element, {
      scroll: (steps) => { this.slice += steps; },
      window: (dx, dy) => this.#drag(index, dx, dy),
      click: (target) => this.#pick(target),
    }));
  }

  /** Loads niivue and makes its canvases ready; done ahead, an exam opens faster. What failed is tried again when next called. */
  prepare() {
    this.#ready ??= import(MODULE).then(async ({ Niivue, NVImage }) => {
      for (const pane of this.#panes) {
        await pane.attach(Niivue).catch((cause) => { throw new CannotDraw(`The browser needs WebGL 2. ${cause.message}`, { cause }); });
        // What is drawn first is waited for longest, until its shaders are compiled.
        const [image, map] = await Promise.all([0, 1].map(() => NVImage.loadFromUrl({ url: blank(), name: "blank.nii" })));
        pane.show(image, labelled(map, []), 0, NOTHING);
      }
      return NVImage;
    }).catch((error) => {
      this.#ready = null;
      throw error;
    });
    return this.#ready;
  }

  /** Begins to fetch an exam's volumes, which are below `files`; what it gives is for `open`. */
  fetch(files) {
    this.close();
    this.#opened = new AbortController();
    const { signal } = this.#opened;
    const buffers = Promise.all(VOLUMES.map((name) => getBuffer(`${files}/${name}`, { signal })));
    buffers.catch(() => {}); // `open` hears of it, if it is called.
    return { signal, buffers };
  }

  /**
   * Shows an exam that is being fetched. `regions` are `{slice, parts, sign, kind}` with parts as in scene.json; `types`
   * are the map's values with their colours.
   */
  async open({ signal, buffers }, { scene, regions, types }) {
    this.panes.setAttribute("aria-busy", "true");
    const [NVImage, ...volumes] = await Promise.all([this.prepare(), ...(await buffers)]);
    const slice = regions[0]?.slice ?? Math.floor(scene.grid.shape[0] / 2);
    const load = (index, options) => {
      const url = slicesToFrames(volumes[index], scene.grid);
      return NVImage.loadFromUrl({ url, name: VOLUMES[index], frame4D: slice, ...options });
    };
    const [t1, t2, map] = await Promise.all([
      ...[0, 1].map((k) => load(k, { colormap: "gray", cal_min: 0, cal_max: scene.white[k] })),
      load(2, { opacity: this.#shownOpacity, cal_min: 0, cal_max: types.length })]);
    if (signal.aborted) return;
    labelled(map, types);
    this.#grid = scene.grid;
    this.#windows = scene.white.map((white) => [0, Math.round(white)]);
    this.#slice = slice;
    const annotated = { grid: scene.grid, names: scene.vertebrae, regions };
    this.#panes.forEach((pane, k) => pane.show([t1, t2][k], map, slice, annotated));
    this.select(null);
    this.controls.opened(this.slices);
    this.controls.update();
    this.onslice();
    this.panes.removeAttribute("aria-busy");
  }

  /** Gives up what is being opened, for another view. */
  close() {
    this.#opened?.abort();
    this.#grid = null;
  }

  get slices() {
    return this.#grid?.shape[0] ?? 0;
  }

  get slice() {
    return this.#slice;
  }

  set slice(slice) {
    if (!this.#grid) return;
    this.#slice = Math.min(Math.max(slice, 0), this.slices - 1);
    this.#panes.forEach((pane) => { pane.slice = this.#slice; });
    this.controls.update();
    this.onslice();
  }

  get opacity() {
    return this.#opacity;
  }

  set opacity(opacity) {
    this.#opacity = Math.min(Math.max(opacity, 0), 1);
    this.#later("map", () => this.#showMap());
  }

  /** Whether the map is shown. */
  get isOn() {
    return this.#isOn;
  }

  set isOn(isOn) {
    this.#isOn = isOn;
    this.#later("map", () => this.#showMap());
  }

  /** Signal shown black and white, for T1 (0) or T2 (1). */
  windowOf(series) {
    return this.#grid ? this.#panes[series].window : [0, 1];
  }

  setWindow(series, [black, white]) {
    this.#later(`window${series}`, () => { this.#panes[series].window = [black, Math.max(white, black + 1)]; });
  }

  resetWindows() {
    this.#windows.forEach((window, series) => this.setWindow(series, window));
  }

  get selected() {
    return this.#selected;
  }

  /** Marks a region and goes to the slice that shows most of it. */
  select(index, region) {
    this.#selected = index;
    this.#panes.forEach((pane) => pane.mark(index, this.#isOn));
    if (region) this.slice = region.slice;
  }

  /** Where T1 (0) or T2 (1) shows a point of the patient, px from the picture's upper left corner. */
  project(series, point) {
    return this.#panes[series].project(point);
  }

  get #shownOpacity() {
    return this.#isOn ? this.#opacity : 0;
  }

  #showMap() {
    this.#panes.forEach((pane) => {
      pane.opacity = this.#shownOpacity;
      pane.mark(this.#selected, this.#isOn);
    });
  }

  #drag(series, dx, dy) {
    const [black, white] = this.windowOf(series);
    const gain = this.#windows[series][1] / 300;
    const width = Math.max(white - black + dx * gain, 1);
    const centre = (white + black) / 2 + dy * gain;
    this.setWindow(series, [centre - width / 2, centre + width / 2]);
  }

  #pick(target) {
    const mark = target.closest?.(".mark");
    if (mark) this.onpick(Number(mark.dataset.region));
  }

  /** Changes come faster than they can be drawn: of those of one kind, the last in a frame is. */
  #later(kind, change) {
    this.#pending.set(kind, change);
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      const changes = [...this.#pending.values()];
      this.#pending.clear();
      if (this.#grid) changes.forEach((change) => change());
      this.controls.update();
    });
  }
}

/** Gives a map the colours of its values; 0 is transparent. */
function labelled(map, types) {
  const channel = (k) => [0, ...types.map(({ colour }) => colour[k])];
  map.setColormapLabel({
    R: channel(0), G: channel(1), B: channel(2),
    A: [0, ...types.map(() => 255)],
    I: [0, ...types.map(({ value }) => value)],
    labels: ["none", ...types.map(({ name }) => name)],
  });
  return map;
}

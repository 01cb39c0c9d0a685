// Keyboard shortcuts and the list of them.

import { h, isTyping } from "./dom.js";

const GENERAL = [
  ["?", "This list"],
  ["g e", "All exams"],
  ["g h", "Health"],
];

let ofView = [];

/** A view's own shortcuts: `[key, meaning, action]`, where `key` is as `event.key` has it. */
export function setShortcuts(shortcuts) {
  ofView = shortcuts;
}

/** Shows the list of shortcuts. */
export function showShortcuts(dialog, shortcuts) {
  const rows = shortcuts.flatMap(([key, meaning]) => [
    h("dt", {}, ...key.split(" ").flatMap((k) => [h("kbd", {}, NAMES[k] ?? k), " "])),
    h("dd", {}, meaning),
  ]);
  const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(h("h2", { id: "shortcuts-title" }, "Keyboard"), h("dl", {}, ...rows), close);
  dialog.showModal();
}

export function startKeys(dialog, button) {
  let afterG = false;
  const show = () => showShortcuts(dialog, [...ofView, ...GENERAL]);
  button.addEventListener("click", show);
  document.addEventListener("keydown", (event) => {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const go = afterG && { e: "#/", h: "#/health" }[event.key];
    afterG = event.key === "g";
    const own = ofView.find(([key]) => key.split(" ").includes(event.key));
    if (go) location.hash = go;
    else if (event.key === "?") show();
    else if (own && !(event.target.closest("button, a, input") && ["Enter", " "].includes(event.key))) own[2](event);
    else return;
    event.preventDefault();
  });
}

const NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "Space" };

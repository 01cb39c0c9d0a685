// The tables beside the pictures.

import { h } from "./dom.js";
import { fixed, typeChip, typeName, typeSign } from "./format.js";

const GRADES = { A: "below 25 %", B: "25 to 50 %", C: "above 50 %" };

/** What the viewer marks: the findings, then the other lesions, as the scene has them. */
export const regionsOf = (scene, findings) => [
  ...scene.findings.map((region, k) => ({ ...region, sign: typeSign(findings[k].type), kind: "modic" })),
  ...scene.other_marrow_lesions.map((region) => ({ ...region, sign: "other", kind: "other" })),
];

/**
 * The findings. `choose(index)` is called for a chosen row. The element has `select(index)` and `at(slice, regions)`, which
 * highlights what the slice shows.
 */
export function findingsTable(findings, choose) {
  if (!findings.length) return plain("Findings", "No Modic change found.");
  const rows = findings.map((finding, index) => {
    const button = h("button", { type: "button", "aria-pressed": "false", onclick: () => choose(index) }, `${finding.level} ${finding.side}`);
    const here = h("span", { class: "visually-hidden" });
    const row = h("tr", { onclick: (event) => { if (!event.target.closest("button")) choose(index); } },
      h("td", {}, button, here),
      h("td", {}, typeChip(finding.type)),
      h("td", { class: "number" }, fixed(finding.volume_mm3)),
      h("td", { class: "number" }, `${fixed(finding.height_percent)} % ${finding.height_grade}`),
      h("td", { class: "number" }, String(finding.slice + 1)));
    return { row, button, here };
  });
  const details = h("dl", { class: "details", "aria-live": "polite", hidden: true });
  const head = ["Endplate", "Type", "mm³", "Height", "Slice"];
  const section = h("section", { class: "card flush" }, h("h2", {}, "Findings"),
    h("table", { class: "findings" },
      h("thead", {}, h("tr", {}, ...head.map((text, k) => h("th", { scope: "col", class: k > 1 ? "number" : null }, text)))),
      h("tbody", {}, ...rows.map(({ row }) => row))),
    details);
  section.select = (selected) => {
    rows.forEach(({ row, button }, index) => {
      row.classList.toggle("selected", index === selected);
      button.setAttribute("aria-pressed", String(index === selected));
    });
    details.hidden = !(selected in findings);
    if (!details.hidden) details.replaceChildren(...describe(findings[selected]));
  };
  section.at = (slice, regions) => rows.forEach(({ row, here }, index) => {
    const isHere = regions[index]?.parts.some((part) => part.slice === slice) ?? false;
    row.classList.toggle("here", isHere);
    here.textContent = isHere ? ", on this slice" : "";
  });
  return section;
}

function describe(finding) {
  const shares = Object.entries(finding.composition_percent).filter(([, share]) => share > 0);
  const rows = [
    ["Disc", finding.disc ?? "–"],
    ["Composition", shares.map(([type, share]) => `${typeName(type.replace("type_", ""))} ${fixed(share)} %`).join(", ")],
    ["Place", finding.place.join(", ")],
    ["Endplate area", `${fixed(finding.area_mm2)} mm²`],
    ["Height", `${fixed(finding.height_percent)} % of the body, grade ${finding.height_grade} (${GRADES[finding.height_grade]})`],
    ["Signal", `T1 ${fixed(finding.t1_ratio, 2)}, T2 ${fixed(finding.t2_ratio, 2)} of normal marrow`],
    ["Probability", fixed(finding.probability, 2)],
  ];
  return rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

export function discsTable(discs) {
  if (!discs.length) return null;
  return h("section", { class: "card flush" }, h("h2", {}, "Discs"),
    h("table", { class: "findings" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Disc"), h("th", { scope: "col" }, "Type"),
        ...["Findings", "mm³", "Height"].map((text) => h("th", { scope: "col", class: "number" }, text)))),
      h("tbody", {}, ...discs.map((disc) => h("tr", {},
        h("td", {}, disc.disc), h("td", {}, typeChip(disc.type)),
        h("td", { class: "number" }, String(disc.findings)),
        h("td", { class: "number" }, fixed(disc.volume_mm3)),
        h("td", { class: "number" }, `${fixed(disc.height_percent)} %`))))));
}

/** Changes that are not Modic; `choose(index)` for a chosen one. */
export function lesionsTable(lesions, choose) {
  if (!lesions.length) return null;
  return h("section", { class: "card flush" }, h("h2", {}, "Other marrow lesions"),
    h("p", { class: "muted small" }, "They touch no endplate and are no Modic change."),
    h("table", { class: "findings" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Level"),
        ...["mm³", "T1", "T2", "Probability"].map((text) => h("th", { scope: "col", class: "number" }, text)))),
      h("tbody", {}, ...lesions.map((lesion, index) => h("tr", { onclick: () => choose(index) },
        h("td", {}, h("button", { type: "button" }, lesion.level)),
        ...[fixed(lesion.volume_mm3), fixed(lesion.t1_ratio, 2), fixed(lesion.t2_ratio, 2), fixed(lesion.probability, 2)]
          .map((text) => h("td", { class: "number" }, text)))))));
}

function plain(title, text) {
  const section = h("section", { class: "card" }, h("h2", {}, title), h("p", { class: "muted" }, text));
  return Object.assign(section, { select: () => {}, at: () => {} });
}

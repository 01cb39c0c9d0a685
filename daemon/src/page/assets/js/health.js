// How the box is, and its log.

import { getJson } from "./api.js";
import { h } from "./dom.js";
import { bytes, clock, duration, fixed } from "./format.js";
import { setShortcuts } from "./keys.js";
import { live } from "./live.js";

const LEVELS = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
const MAX_RECORDS = 500;
const STATUS = {
  ok: ["done", "Exams are received and analysed."],
  degraded: ["rejected", "Exams are received and analysed, with a limitation."],
  failing: ["failed", "Exams are not received or analysed."],
};

export function showHealth(main) {
  const cards = h("div", { class: "health" });
  const log = new Log();
  main.replaceChildren(h("h1", {}, "Health"), cards, h("div", { class: "health" }, log.element));
  const show = ({ detail }) => cards.replaceChildren(...overview(detail));
  const add = ({ detail }) => log.add(detail);
  const fetchLog = () => getJson("/api/logs").then((records) => log.add(records)).catch(() => {});
  // What was logged without a connection was not told, and a box that was started again counts anew.
  const connected = ({ detail }) => {
    if (!detail) return;
    log.forget();
    fetchLog();
  };
  live.addEventListener("connected", connected);
  live.addEventListener("health", show);
  live.addEventListener("logs", add);
  getJson("/api/health").then((detail) => show({ detail })).catch(() => {});
  fetchLog();
  setShortcuts([]);
  return () => {
    live.removeEventListener("connected", connected);
    live.removeEventListener("health", show);
    live.removeEventListener("logs", add);
  };
}

function overview({ health, reasons, metrics, info }) {
  const [state, sentence] = STATUS[health.status];
  return [
    h("section", { class: "card wide" }, h("h2", {}, h("span", { class: `state ${state}` }, health.status)),
      h("p", {}, sentence),
      reasons.length ? h("ul", { class: "reasons" }, ...reasons.map(({ code, meaning }) =>
        h("li", { class: "notice" }, meaning, " ", h("span", { class: "muted mono" }, code)))) : null),
    card("Exams", [
      ["Waiting for analysis", health.queue],
      ["Analysed", metrics.studies_completed_total],
      ["Rejected", metrics.studies_rejected_total],
      ["Failed", metrics.studies_failed_total],
      ["Last analysis", metrics.last_analysis_s ? `${fixed(metrics.last_analysis_s, 1)} s` : "–"],
    ]),
    card("Receiving", [
      ["Instances received", metrics.instances_received_total],
      ["Instances refused", metrics.instances_rejected_total],
      ["Up for", duration(metrics.uptime_s)],
      ["Memory", bytes(metrics.resident_bytes)],
    ]),
    card("Waiting for the broker", [
      ["Messages", health.outbox.messages],
      ["Size", bytes(health.outbox.bytes)],
      ["Oldest", health.outbox.messages ? duration(health.outbox.oldest_age_s) : "–"],
    ]),
    card("Waiting for the PACS", Object.keys(health.pacs).length
      ? Object.entries(health.pacs).map(([name, count]) => [name, `${count} objects`]) : [["No PACS configured", ""]]),
    card("Version", [
      ["modicd", info.version],
      ["Typing", info.typing],
      ...Object.entries(info.bundles).map(([name, sha256]) => [`Network ${name}`, h("span", { class: "mono", title: sha256 }, sha256.slice(0, 12))]),
    ]),
  ];
}

function card(title, rows) {
  return h("section", { class: "card" }, h("h2", {}, title),
    h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value instanceof Node ? value : String(value))])));
}

/** The newest records, the newest on top, down to a chosen level. */
class Log {
  #records = [];

  constructor() {
    this.level = h("select", { onchange: () => this.#show() }, ...LEVELS.map((level) => h("option", { value: level }, `${level.toLowerCase()} and worse`)));
    this.level.value = "INFO";
    this.list = h("ol", { class: "log", tabindex: "0", "aria-label": "Log records, newest first" });
    this.element = h("section", { class: "card wide" },
      h("div", { class: "log-head" }, h("h2", {}, "Log"), h("label", {}, "Show ", this.level)), this.list);
  }

  /** Takes records in their order; those it has are left out. */
  add(records) {
    const seen = new Set(this.#records.map(({ seq }) => seq));
    const fresh = records.filter(({ seq }) => !seen.has(seq));
    this.#records = [...this.#records, ...fresh].sort((a, b) => a.seq - b.seq).slice(-MAX_RECORDS);
    this.#show();
  }

  /** The records are to be given anew; what is shown stays until then. */
  forget() {
    this.#records = [];
  }

  #show() {
    const worst = LEVELS.slice(0, LEVELS.indexOf(this.level.value) + 1);
    const shown = this.#records.filter(({ level }) => worst.includes(level)).reverse();
    this.list.replaceChildren(...shown.map(({ time, level, text, target }) =>
      h("li", { title: target }, clock(time), h("span", { class: level }, level), h("span", {}, text))));
  }
}

// Keeps each study's newest result. The same result on both of its topics, delivered twice, replayed or kept by
// the broker is still one; a late older revision doesn't take the place of a newer one.
const KEPT = 2000;

const { event_id, study_ref, revision, time, quality, findings, numbering_confidence } = msg.body;
const named = (f) => [f?.level, f?.side, f?.type].every((word) => typeof word === "string" && word);
if (!/^[0-9a-f]{16}$/.test(study_ref) || !Array.isArray(findings) || !findings.every(named)) {
    flow.set("unreadable", (flow.get("unreadable") || 0) + 1);
    return null;
}
const results = flow.get("results") || {};
const id = `${msg.key}/${study_ref}`;
const known = results[id];
if (known && (known.event_id === event_id || known.revision >= revision)) return null;

const text = (value) => (typeof value === "string" ? value.slice(0, 100) : "");
const number = (value) => (Number.isFinite(value) ? value : null);
results[id] = {
    event_id,
    box: msg.key,
    study_ref,
    revision: number(revision) ?? 1,
    time: Date.parse(time) || msg.at,
    quality: Array.isArray(quality) ? quality.map(text).slice(0, 20) : [],
    numbering_confidence: number(numbering_confidence),
    findings: findings.slice(0, 100).map((f) => ({
        level: text(f.level),
        side: text(f.side),
        disc: text(f.disc),
        type: text(f.type),
        volume_mm3: number(f.volume_mm3),
        height_percent: number(f.height_percent),
        height_grade: text(f.height_grade),
        probability: number(f.probability),
    })),
};
const ids = Object.keys(results);
if (ids.length > KEPT) {
    delete results[ids.reduce((a, b) => (results[b].time < results[a].time ? b : a))];
}
flow.set("results", results);
return { key: msg.key };

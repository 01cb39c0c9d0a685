// Keeps a box's newest events, each once however often it is delivered, in the order in which they happened.
const KEPT = 50;

const boxes = flow.get("boxes");
const box = boxes[msg.key];
const { event_id, event, time, study_ref, findings, attempts, reason, reasons, what_to_do } = msg.body;
const text = (value) => (typeof value === "string" ? value.slice(0, 300) : undefined);
const id = `${msg.suffix} ${event_id}`;
if (!text(event_id) || box.events.some((known) => known.id === id)) return null;

box.events.push({
    id,
    event: text(event) ?? msg.suffix,
    time: Date.parse(time) || msg.at,
    study_ref: text(study_ref),
    findings: Number.isFinite(findings) ? findings : undefined,
    attempts: Number.isFinite(attempts) ? attempts : undefined,
    reason: text(reason),
    what_to_do: text(what_to_do),
    refused: Object.entries(Object(reasons)).slice(0, 20).filter(([, count]) => Number.isFinite(count)),
});
box.events.sort((a, b) => b.time - a.time);
box.events.length = Math.min(box.events.length, KEPT);
flow.set("boxes", boxes);
return { key: msg.key };

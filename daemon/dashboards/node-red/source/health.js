// Keeps a box's status and its reasons; an older report of the same run is not taken.
const boxes = flow.get("boxes");
const box = boxes[msg.key];
const { status, reasons, queue, outbox, pacs, boot_id, time } = msg.body;
const said = Date.parse(time) || 0;
if (box.health && box.health.boot_id === boot_id && said < box.health.said) return null;

const number = (value) => (Number.isFinite(value) ? value : 0);
const codes = Array.isArray(reasons) ? reasons.filter((r) => typeof r === "string") : [];
box.health = {
    status: ["ok", "degraded", "failing"].includes(status) ? status : "unknown",
    reasons: codes.slice(0, 20),
    queue: number(queue),
    messages: number(outbox?.messages),
    oldest_s: number(outbox?.oldest_age_s),
    pacs: Object.entries(Object(pacs)).slice(0, 20).map(([name, waiting]) => ({ name, waiting: number(waiting) })),
    boot_id,
    said,
};
flow.set("boxes", boxes);
return { key: msg.key };

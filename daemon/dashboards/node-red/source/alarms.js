// Compares what is wrong with a box (without a key: with any box) with the alarms that stand: new ones are added,
// those that are over go into the history. Health comes every minute, so three without a word are silence.
const SILENT_MS = 180_000;
const HISTORY = 500;

const boxes = flow.get("boxes") || {};
const alarms = flow.get("alarms") || {};
const history = flow.get("history") || [];
const now = Date.now();

const wrong = {};
const check = msg.key ? [msg.key] : Object.keys(boxes);
for (const box of check.map((key) => boxes[key]).filter(Boolean)) {
    const add = (code, severity, since = now, what_to_do = "") => {
        wrong[`${box.key} ${code}`] ??= { box: box.key, code, severity, since, what_to_do };
    };
    box.silent = box.availability === "online" && now - box.seen > SILENT_MS;
    if (box.availability === "offline") add("offline", 2, box.availability_since);
    if (box.silent) add("silent", 2, box.seen || null);
    const { status, reasons } = box.health || { status: "ok" };
    const severity = status === "failing" ? 2 : 1;
    for (const [code, { since, what_to_do }] of Object.entries(box.alarms)) add(code, severity, since, what_to_do);
    if (status !== "ok" && status !== "unknown") {
        for (const code of reasons.length ? reasons : [status]) add(code, severity);
    }
}
for (const [id, alarm] of Object.entries(alarms)) {
    if (!wrong[id] && (!msg.key || alarm.box === msg.key)) {
        history.unshift({ ...alarm, over: now });
        delete alarms[id];
    }
}
for (const [id, alarm] of Object.entries(wrong)) {
    alarms[id] = alarms[id] ? { ...alarms[id], severity: alarm.severity, what_to_do: alarm.what_to_do } : alarm;
}
history.length = Math.min(history.length, HISTORY);
flow.set("boxes", boxes);
flow.set("alarms", alarms);
flow.set("history", history);
flow.set("version", (flow.get("version") || 0) + 1);

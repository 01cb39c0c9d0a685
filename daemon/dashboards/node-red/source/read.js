// Takes a message apart: whose it is, what it is about, its JSON. Sends it on by kind; drops and counts
// what can't be read. Every kind has an output of its own, in the order of KINDS.
const KINDS = ["availability", "info", "health", "metrics", "event", "finding", "alarm"];
const MAX_BOXES = 5000;

const boxes = flow.get("boxes") || {};
const unreadable = () => {
    flow.set("unreadable", (flow.get("unreadable") || 0) + 1);
    flow.set("version", (flow.get("version") || 0) + 1);
};

// {root}/v1/{site}/{device}/{suffix}; latest/finding holds what finding/{study_ref} does.
const [, version, site, device, first, second] = msg.topic.split("/");
const kind = first === "latest" ? second : first;
const output = KINDS.indexOf(kind);
if (version !== "v1" || output < 0) return null;

let body = msg.payload;
if (kind !== "availability" && body !== "") {
    try {
        body = JSON.parse(body);
    } catch {
        return unreadable();
    }
    if (body === null || typeof body !== "object" || Array.isArray(body)) return unreadable();
}

const key = `${site}/${device}`;
if (!Object.hasOwn(boxes, key)) {
    // An empty message is a retained one that was deleted: no box speaks.
    if (body === "" || Object.keys(boxes).length >= MAX_BOXES) return null;
    boxes[key] = { key, site, device, availability: "", seen: 0, alarms: {}, events: [], series: [] };
    flow.set("boxes", boxes);
}

// When it was said. What the broker kept was said at its own time, everything else just now.
const said = Date.parse(body.time);
const now = Date.now();
const at = msg.retain && said < now ? said : now;
if (kind !== "availability" && !msg.retain) boxes[key].seen = now;
if (kind === "health" && msg.retain) boxes[key].seen = Math.max(boxes[key].seen, at);

const outputs = KINDS.map(() => null);
outputs[output] = { key, body, at, retained: msg.retain, suffix: second };
return outputs;

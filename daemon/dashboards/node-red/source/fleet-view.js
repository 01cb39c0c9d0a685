// Answers the page "Fleet": a line for every box, those in trouble first. Says nothing while nothing has changed.
const version = flow.get("version");
if (msg.payload.seen === version) return null;

const words = flow.get("words").alarm;
const boxes = flow.get("boxes") || {};
const troubles = {};
for (const alarm of Object.values(flow.get("alarms") || {})) (troubles[alarm.box] ??= []).push(alarm);
const newest = {};
for (const result of Object.values(flow.get("results") || {})) {
    if (!newest[result.box] || newest[result.box].time < result.time) newest[result.box] = result;
}

const rows = Object.values(boxes).map((box) => {
    const alarms = troubles[box.key] || [];
    const { status = "", queue, messages, oldest_s } = box.health || {};
    const result = newest[box.key];
    const largest = result?.findings.reduce((a, b) => (b.volume_mm3 > a.volume_mm3 ? b : a), result.findings[0]);
    return {
        key: box.key,
        site: box.site,
        device: box.device,
        availability: box.silent ? "silent" : box.availability || "unknown",
        since: box.availability_since,
        status,
        reasons: alarms
            .filter(({ code }) => code !== "offline" && code !== "silent")
            .map(({ code, what_to_do }) => ({ code, words: words[code] || what_to_do })),
        severity: Math.max(0, ...alarms.map((alarm) => alarm.severity)),
        queue,
        messages,
        oldest_s,
        version: box.info?.version || "",
        seen: box.seen,
        result: result && { time: result.time, count: result.findings.length, largest },
    };
});
rows.sort((a, b) => b.severity - a.severity || a.key.localeCompare(b.key));
msg.payload = { version, rows, unreadable: flow.get("unreadable") || 0 };
return msg;

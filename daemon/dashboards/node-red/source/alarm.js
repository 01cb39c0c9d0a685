// Keeps which alarms a box has raised itself; a deleted one counts as cleared.
const MOST = 50;

const boxes = flow.get("boxes");
const raised = boxes[msg.key].alarms;
const code = (msg.suffix || "").slice(0, 100);
if (!code) return null;
if (msg.body.state !== "raised") {
    delete raised[code];
} else if (Object.hasOwn(raised, code) || Object.keys(raised).length < MOST) {
    const { time, reason } = msg.body;
    raised[code] = { since: Date.parse(time) || msg.at, reason: typeof reason === "string" && reason !== code ? reason.slice(0, 200) : "" };
}
flow.set("boxes", boxes);
return { key: msg.key };

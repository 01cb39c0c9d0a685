// Keeps which alarms a box has raised itself; a deleted one counts as cleared.
const MOST = 50;

const boxes = flow.get("boxes");
const raised = boxes[msg.key].alarms;
const code = (msg.suffix || "").slice(0, 100);
if (!code) return null;
if (msg.body.state !== "raised") {
    delete raised[code];
} else if (Object.hasOwn(raised, code) || Object.keys(raised).length < MOST) {
    const { since, time, what_to_do } = msg.body;
    raised[code] = {
        since: Date.parse(since) || Date.parse(time) || msg.at,
        what_to_do: typeof what_to_do === "string" ? what_to_do.slice(0, 300) : "",
    };
}
flow.set("boxes", boxes);
return { key: msg.key };

// Keeps whether a box is there. An empty message takes the box off the board: its retained topics were deleted.
const boxes = flow.get("boxes");
if (msg.body === "") {
    delete boxes[msg.key];
} else if (["online", "stopped", "offline"].includes(msg.body)) {
    const box = boxes[msg.key];
    // Since when is known only for what changes while we listen.
    if (box.availability !== msg.body) box.availability_since = msg.retained ? null : msg.at;
    box.availability = msg.body;
    if (msg.body === "online" && !msg.retained) box.seen = msg.at;
} else {
    flow.set("unreadable", (flow.get("unreadable") || 0) + 1);
    return null;
}
flow.set("boxes", boxes);
return { key: msg.key };

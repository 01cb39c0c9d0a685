// Answers the page "Box": all that is kept of the box asked for, and the names of all boxes to choose from.
const version = flow.get("version");
const { seen, box: wanted } = msg.payload;
if (seen === version) return null;

const words = flow.get("words").alarm;
const boxes = flow.get("boxes") || {};
const keys = Object.keys(boxes).sort();
const box = boxes[wanted] || (wanted ? undefined : boxes[keys[0]]);
const mine = (kept) => Object.values(flow.get(kept) || {}).filter((entry) => entry.box === box?.key);
msg.payload = {
    version,
    keys,
    wanted: wanted || box?.key,
    box: box && { ...box, alarms: undefined },
    alarms: mine("alarms").map((alarm) => ({ ...alarm, words: words[alarm.code] || alarm.what_to_do })),
    results: mine("results").sort((a, b) => b.time - a.time).slice(0, 20),
};
return msg;

// Answers the page "Alarms": what stands, what is over. Takes note here, and only here, that somebody has seen one.
const alarms = flow.get("alarms") || {};
const { seen, acknowledge } = msg.payload;
if (Object.hasOwn(alarms, acknowledge ?? "")) {
    alarms[acknowledge].acknowledged = Date.now();
    flow.set("alarms", alarms);
    flow.set("version", flow.get("version") + 1);
}
const version = flow.get("version");
if (seen === version) return null;

const words = flow.get("words").alarm;
const told = (alarm) => ({ ...alarm, words: words[alarm.code] || alarm.what_to_do });
msg.payload = {
    version,
    alarms: Object.entries(alarms)
        .map(([id, alarm]) => ({ id, ...told(alarm) }))
        .sort((a, b) => !!a.acknowledged - !!b.acknowledged || b.severity - a.severity || b.since - a.since),
    history: (flow.get("history") || []).slice(0, 100).map(told),
};
return msg;

// Keeps a box's numbers: the newest, and one sample every two minutes of the last six hours for the charts.
const EVERY_MS = 120_000;
const SAMPLES = 180;

const boxes = flow.get("boxes");
const box = boxes[msg.key];
box.metrics = Object.fromEntries(
    Object.entries(msg.body).filter(([, value]) => Number.isFinite(value)).slice(0, 100),
);
const { queue, outbox_messages, outbox_oldest_age_s, resident_bytes, last_analysis_s } = box.metrics;
const sample = [msg.at, queue, outbox_messages, outbox_oldest_age_s, resident_bytes, last_analysis_s];
const last = box.series.at(-1);
if (last && Math.floor(last[0] / EVERY_MS) === Math.floor(msg.at / EVERY_MS)) box.series.pop();
box.series.push(sample);
if (box.series.length > SAMPLES) box.series.shift();
flow.set("boxes", boxes);
return { key: msg.key };

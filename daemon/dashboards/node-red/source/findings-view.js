// Answers the page "Findings": how often each endplate shows each type in the period and at the site asked for, and
// the newest findings. Every study counts once, with its newest result.
const NEWEST = 200;
const LEVELS = ["T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1"];

const version = flow.get("version");
const { seen, hours, site } = msg.payload;
if (seen === version) return null;

const from = hours > 0 ? Date.now() - hours * 3_600_000 : 0;
const all = Object.values(flow.get("results") || {});
const results = all
    .filter((result) => result.time >= from && (!site || result.box.startsWith(`${site}/`)))
    .sort((a, b) => b.time - a.time);

// The lumbar endplates are always shown, the others and unusual types as they occur.
const endplates = LEVELS.flatMap((level) => [`${level} superior`, `${level} inferior`]);
const counts = {};
const types = new Set(["1", "2", "3"]);
for (const { level, side, type } of results.flatMap((result) => result.findings)) {
    types.add(type);
    const row = (counts[`${level} ${side}`] ??= {});
    row[type] = (row[type] || 0) + 1;
}
const usual = (endplate) => /^L\d|^S1 superior/.test(endplate);
const known = endplates.filter((endplate) => usual(endplate) || counts[endplate]);
const columns = [...types].sort((a, b) => a.length - b.length || a.localeCompare(b));
const sum = (row) => Object.values(row).reduce((a, b) => a + b, 0);

msg.payload = {
    version,
    columns,
    matrix: [...known, ...Object.keys(counts).filter((other) => !endplates.includes(other))].map((endplate) => {
        const row = counts[endplate] || {};
        return { endplate, cells: columns.map((type) => row[type] || 0), total: sum(row) };
    }),
    studies: results.length,
    positive: results.filter((result) => result.findings.length > 0).length,
    sites: [...new Set(all.map((result) => result.box.split("/")[0]))].sort(),
    newest: results
        .flatMap(({ findings, ...study }) => (findings.length ? findings : [null]).map((f) => ({ ...study, ...f })))
        .slice(0, NEWEST),
    quality: flow.get("words").quality,
};
return msg;

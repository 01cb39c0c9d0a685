// Keeps a box's versions.
const boxes = flow.get("boxes");
const { version, typing, bundles } = msg.body;
const text = (value) => (typeof value === "string" ? value.slice(0, 100) : "");
const digests = Object.entries(Object(bundles)).slice(0, 10);
boxes[msg.key].info = {
    version: text(version),
    typing: text(typing),
    bundles: digests.map(([name, sha256]) => ({ name, sha256: text(sha256) })),
};
flow.set("boxes", boxes);
return { key: msg.key };

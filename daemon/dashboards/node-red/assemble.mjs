#!/usr/bin/env node
// Puts flows.json together from source/: flow.json holds the nodes, "@name" in it stands for the text of a file, and a
// line "//@ name" in such a file for that of another. With --check it writes nothing and fails where flows.json differs.
import { readFileSync, writeFileSync } from "node:fs";

const folder = new URL("source/", import.meta.url);
const target = new URL("flows.json", import.meta.url);

const text = (name) =>
    readFileSync(new URL(name, folder), "utf8").replace(/^ *\/\/@ (\S+)\n/gm, (_, inner) => text(inner));
const filled = (_, value) => (typeof value === "string" && value.startsWith("@") ? text(value.slice(1)) : value);

const flows = JSON.stringify(JSON.parse(readFileSync(new URL("flow.json", folder), "utf8"), filled), null, 4) + "\n";
if (!process.argv.includes("--check")) {
    writeFileSync(target, flows);
} else if (readFileSync(target, "utf8") !== flows) {
    console.error("flows.json differs from its source: run assemble.mjs");
    process.exit(1);
}

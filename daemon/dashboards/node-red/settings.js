// A Node-RED that does nothing but show modicd's dashboard. See https://nodered.org/docs/user-guide/runtime/configuration.
module.exports = {
    // Loopback, so that nothing is open to the network before somebody decides so: Node-RED's editor and dashboard ask
    // for no password unless adminAuth and httpNodeAuth, or a proxy in front of it, do.
    uiHost: process.env.MODICD_DASHBOARD_HOST || "127.0.0.1",
    uiPort: Number(process.env.MODICD_DASHBOARD_PORT) || 1880,
    flowFile: "flows.json",
    // flows_cred.json names environment variables only, so there is nothing to encrypt.
    credentialSecret: false,
    // The history of alarms and what was acknowledged survive a restart on disk. Without this block they don't; what
    // boxes have said last comes from the broker either way.
    contextStorage: { default: { module: "localfilesystem" } },
    // The palette is package.json's.
    externalModules: { autoInstall: false, palette: { allowInstall: false } },
    telemetry: { enabled: false, updateNotification: false },
};

//! Storage providers: dcmtk's storescp, and Orthanc, with nginx before its web server where that is to speak HTTPS.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::process::{Running, free_port};

/// dcmtk's storescp, which writes what it gets into a folder.
pub struct Storescp {
    /// Its port on 127.0.0.1.
    pub port: u16,
    folder: PathBuf,
    options: Vec<OsString>,
    process: Option<Running>,
}

impl Storescp {
    /// Starts one that writes into `folder`.
    pub fn start(folder: &Path) -> Storescp {
        Storescp::start_with(folder, Vec::new())
    }

    /// Starts one that takes only objects of one SOP class.
    pub fn start_for(folder: &Path, sop_class: &str) -> Storescp {
        let profile = folder.with_extension("cfg");
        let text = format!(
            "[[TransferSyntaxes]]\n[Explicit]\nTransferSyntax1 = LittleEndianExplicit\n\
             [[PresentationContexts]]\n[Some]\nPresentationContext1 = {sop_class}\\Explicit\n\
             [[Profiles]]\n[Some]\nPresentationContexts = Some\n"
        );
        std::fs::write(&profile, text).expect("the test's folder is writable");
        Storescp::start_with(folder, vec!["-xf".into(), profile.into(), "Some".into()])
    }

    /// Starts one that speaks TLS and asks for a certificate.
    pub fn start_with_tls(folder: &Path, certificates: &Certificates) -> Storescp {
        let mut options: Vec<OsString> = vec!["+tls".into()];
        options.extend([&certificates.server_key, &certificates.server].map(|p| p.into()));
        options.extend(["+cf".into(), (&certificates.authority).into()]);
        Storescp::start_with(folder, options)
    }

    /// Starts one that refuses every association.
    pub fn start_refusing(folder: &Path) -> Storescp {
        Storescp::start_with(folder, vec!["--refuse".into()])
    }

    fn start_with(folder: &Path, options: Vec<OsString>) -> Storescp {
        std::fs::create_dir_all(folder).expect("the test's folder is writable");
        let mut provider =
            Storescp { port: free_port(), folder: folder.to_owned(), options, process: None };
        provider.restart();
        provider
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port and folder.
    pub fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new("storescp");
        command.arg("-od").arg(&self.folder).args(&self.options);
        command.args(["-aet", "ARCHIVE", &self.port.to_string()]);
        self.process = Some(Running::serving(&mut command, self.port));
    }

    /// The files that it wrote, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).expect("the folder is there");
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        files
    }
}

/// An Orthanc that forwards every MR image to the daemon by its own script, with its DICOMweb plugin.
pub struct Orthanc {
    /// Its DICOM port on 127.0.0.1.
    pub dicom_port: u16,
    /// Its web port on 127.0.0.1.
    pub http_port: u16,
    folder: PathBuf,
    settings: Value,
    process: Option<Running>,
}

impl Orthanc {
    /// One that isn't started yet; `folder` gets its files, `daemon_port` is where it forwards to.
    pub fn new(folder: &Path, dicom_port: u16, daemon_port: u16) -> Orthanc {
        let mut orthanc = Orthanc::quiet(folder, dicom_port, daemon_port);
        orthanc.add_script(
            "forward",
            "function OnStoredInstance(instance, tags, metadata, origin)\n\
             \x20 if tags['Modality'] == 'MR' then SendToModality(instance, 'modicd') end\n\
             end\n",
        );
        orthanc
    }

    /// One that forwards nothing by itself.
    pub fn quiet(folder: &Path, dicom_port: u16, daemon_port: u16) -> Orthanc {
        let http_port = free_port();
        let settings = json!({
            "StorageDirectory": folder.join("orthanc"),
            "IndexDirectory": folder.join("orthanc"),
            "HttpPort": http_port,
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "DicomAet": "ORTHANC",
            "DicomPort": dicom_port,
            "DicomModalities": { "modicd": ["MODICD", "127.0.0.1", daemon_port] },
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "DicomWeb": { "Enable": true, "Root": "/dicom-web/" },
        });
        let folder = folder.to_owned();
        Orthanc { dicom_port, http_port, folder, settings, process: None }
    }

    /// Has it answer Success to the first structured report and drop it nevertheless.
    pub fn loses_the_first_report(mut self) -> Orthanc {
        self.add_script(
            "lose",
            "lost = false\n\
             function ReceivedInstanceFilter(dicom, origin)\n\
             \x20 if dicom.Modality == 'SR' and not lost then lost = true return false end\n\
             \x20 return true\n\
             end\n",
        );
        self
    }

    /// Lets in only the user `modicd` with the password `secret`.
    pub fn guarded(mut self) -> Orthanc {
        self.settings["AuthenticationEnabled"] = true.into();
        self.settings["RegisteredUsers"] = json!({ "modicd": "secret" });
        self
    }

    fn add_script(&mut self, name: &str, text: &str) {
        let script = self.folder.join(name).with_extension("lua");
        std::fs::write(&script, text).expect("the test's folder is writable");
        match self.settings["LuaScripts"].as_array_mut() {
            Some(scripts) => scripts.push(json!(script)),
            None => self.settings["LuaScripts"] = json!([script]),
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it, again on what it stored.
    pub fn restart(&mut self) {
        self.process = None;
        let config = self.folder.join("orthanc.json");
        std::fs::write(&config, self.settings.to_string()).expect("the test's folder is writable");
        let running = Running::serving(Command::new("Orthanc").arg(&config), self.http_port);
        self.process = Some(running.listening("Orthanc", self.dicom_port));
    }

    /// The modalities of all series of each study, in order.
    pub fn studies(&self) -> Vec<Vec<String>> {
        let studies = self.get("/studies");
        let ids = studies.as_array().expect("a list");
        ids.iter().map(|id| self.modalities(id.as_str().expect("an identifier"))).collect()
    }

    fn modalities(&self, study: &str) -> Vec<String> {
        let series = self.get(&format!("/studies/{study}/series"));
        let mut modalities: Vec<String> = series
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["MainDicomTags"]["Modality"].as_str().unwrap_or_default().to_owned())
            .collect();
        modalities.sort();
        modalities
    }

    /// How many instances it has.
    pub fn instances(&self) -> u64 {
        self.get("/statistics")["CountInstances"].as_u64().expect("a number")
    }

    /// Its identifiers of all instances.
    pub fn instance_ids(&self) -> Vec<String> {
        let ids = self.get("/instances");
        ids.as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_str().expect("text").to_owned())
            .collect()
    }

    /// Sends instances to a modality; whether all of them were taken.
    pub fn send(&self, modality: &str, instances: &[String]) -> bool {
        let url = format!("http://127.0.0.1:{}/modalities/{modality}/store", self.http_port);
        let body = json!({ "Resources": instances, "Synchronous": true }).to_string();
        let sent = Command::new("curl")
            .args(["--silent", "--fail", "--user", "modicd:secret", "--data", &body, &url])
            .output();
        sent.expect("curl is installed (tests/run installs it)").status.success()
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.http_port);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--user", "modicd:secret", &url])
            .output()
            .expect("curl is installed (tests/run installs it)");
        serde_json::from_slice(&output.stdout).expect("Orthanc answers in JSON")
    }
}

/// nginx before a web server: HTTPS with certificates of both sides. (Debian's Orthanc crashes when it speaks HTTPS itself.)
pub struct HttpsProxy {
    /// Its port on localhost.
    pub port: u16,
    _process: Running,
}

impl HttpsProxy {
    /// Starts one that passes on to a port of 127.0.0.1.
    pub fn start(folder: &Path, certificates: &Certificates, to: u16) -> HttpsProxy {
        Self::start_with(folder, certificates, &format!("proxy_pass http://127.0.0.1:{to};"))
    }

    /// Starts one that serves the files of `files`.
    pub fn of_files(folder: &Path, certificates: &Certificates, files: &Path) -> HttpsProxy {
        Self::start_with(folder, certificates, &format!("root {};", files.display()))
    }

    fn start_with(folder: &Path, certificates: &Certificates, location: &str) -> HttpsProxy {
        std::fs::create_dir_all(folder).expect("the test's folder is writable");
        let port = free_port();
        let Certificates { authority, server, server_key, .. } = certificates;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", folder.join(kind).display()))
            .concat();
        let text = format!(
            "daemon off;\nuser root;\npid {pid};\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\nclient_max_body_size 64m;\n{temporary}\
             server {{\nlisten 127.0.0.1:{port} ssl;\n\
             ssl_certificate {server};\nssl_certificate_key {server_key};\n\
             ssl_client_certificate {authority};\nssl_verify_client on;\n\
             location / {{ {location} }}\n}}\n}}\n",
            pid = folder.join("pid").display(),
            server = server.display(),
            server_key = server_key.display(),
            authority = authority.display(),
        );
        let config = folder.join("nginx.conf");
        std::fs::write(&config, text).expect("the test's folder is writable");
        let process = Running::serving(Command::new("nginx").arg("-c").arg(&config), port);
        HttpsProxy { port, _process: process }
    }
}

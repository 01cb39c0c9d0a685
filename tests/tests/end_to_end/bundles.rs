//! Other networks for a box: signed by minisign, staged, activated, and taken back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use modicd_tests::{
    Broker, Certificates, Daemon, Exam, HttpsProxy, Page, Releaser, Subscriber, ask, change,
    end_of, eventually, flip_bit, modicd_bundle, set, sha256, storescu, unsigned_bundle,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// The section `[bundles]` with a trusted key.
fn trusting(releaser: &Releaser) -> String {
    format!("[bundles]\npublic_keys = [{:?}]\n", releaser.public_key)
}

/// A configuration of a box that doesn't run.
fn configuration(folder: &Path, text: &str) -> PathBuf {
    let (config, state) = (folder.join("modicd.toml"), folder.join("state"));
    std::fs::create_dir_all(&state).expect("the test's folder is writable");
    std::fs::write(&config, format!("state_dir = {state:?}\n{text}"))
        .expect("the test's folder is writable");
    config
}

/// Does something that must succeed; gives what is printed.
fn done(config: &Path, arguments: &[&str]) -> String {
    let output = modicd_bundle(config, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Does something that must be refused with a code.
fn refused(config: &Path, arguments: &[&str], code: &str) {
    let output = modicd_bundle(config, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(errors.contains(&format!("modicd: {code}: ")), "{code}: {errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a test's folder is UTF-8")
}

/// The newest state of network 2 that a subscriber knows.
fn state(subscriber: &Subscriber) -> Value {
    subscriber.on("/bundle/modic/state").pop().unwrap_or_default()
}

fn wait_for_state(subscriber: &Subscriber, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(LIMIT, what, || Some(state(subscriber)).filter(|state| is(state)))
}

/// The digest of network 2 in a finding.
fn network_of(finding: &Value) -> &str {
    let mut bundles = finding["bundles"].as_array().into_iter().flatten();
    let network = bundles.find(|bundle| bundle["name"] == "modic");
    network.and_then(|bundle| bundle["sha256"].as_str()).expect("a finding names its networks")
}

#[test]
fn an_update_comes_over_the_air_is_used_proves_itself_and_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let releaser = Releaser::new(folder.path(), "release");
    let bundle = releaser.bundle(folder.path(), "modic", "0.5.0");
    let network = sha256(&bundle.join("network.onnx"));
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let package = files.join("modic.tar");
    let certificates = Certificates::make(&folder.path().join("certificates"));
    let server = HttpsProxy::of_files(&folder.path().join("nginx"), &certificates, &files);
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let sections = format!(
        "{}[bundles.tls]\nca_file = {:?}\nclient_cert_file = {:?}\nclient_key_file = {:?}\n\
         [mqtt.commands]\nallow = [\"study.rerun\", \"self-test\", \"bundle.stage\", \
         \"bundle.activate\", \"bundle.rollback\"]",
        trusting(&releaser),
        certificates.authority,
        certificates.client,
        certificates.client_key
    );
    let mut daemon = Daemon::start(folder.path(), broker.port, &sections);
    let before = subscriber.wait_for("/bundle/modic/state", 1, LIMIT);
    assert_eq!(
        (&before["active"]["source"], &before["name"]),
        (&"program".into(), &"modic".into())
    );
    let shipped = before["active"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(subscriber.wait_for("/info", 1, LIMIT)["bundles"]["modic"], *shipped);
    let exam = Exam::small(&folder.path().join("exam"), 31);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let first = subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert_eq!((network_of(&first), &first["revision"]), (shipped.as_str(), &1.into()));

    // Staged: only what was asked for, and only from there.
    let pack = ["bundle", "pack", text(&bundle), "--out", text(&package)];
    assert!(std::process::Command::new(Daemon::program()).args(pack).status().unwrap().success());
    let url = format!("https://localhost:{}/modic.tar", server.port);
    let digest = sha256(&package);
    let stage = |url: &str, digest: &str| format!(",\"url\":\"{url}\",\"sha256\":\"{digest}\"");
    let absent = format!("https://localhost:{}/absent.tar", server.port);
    for (id, url, digest, code) in [
        ("a", url.as_str(), network.as_str(), "wrong_package"),
        ("b", absent.as_str(), digest.as_str(), "unreachable"),
    ] {
        ask(&broker, "bundle.stage", id, &stage(url, digest), &[]);
        assert_eq!(end_of(&subscriber, "bundle.stage", id).1["reason"], code);
    }
    ask(&broker, "bundle.stage", "c", &stage(&url.replace("https", "http"), &digest), &[]);
    assert_eq!(end_of(&subscriber, "bundle.stage", "c").1["reason"], "malformed");
    ask(&broker, "bundle.stage", "d", &stage(&url, &digest), &[]);
    let (states, last) = end_of(&subscriber, "bundle.stage", "d");
    assert_eq!(states, ["accepted", "running", "succeeded"], "{last}");
    let staged = wait_for_state(&subscriber, "the staged bundle", |s| s["staged"].is_object());
    assert_eq!(staged["staged"]["sha256"], *network);
    assert_eq!(staged["active"], before["active"]);

    // Activated: the next analysis uses it, and what was computed before doesn't pass for it.
    let activate = |digest: &str| format!(",\"name\":\"modic\",\"sha256\":\"{digest}\"");
    ask(&broker, "bundle.activate", "a", &activate(&shipped), &[]);
    assert_eq!(end_of(&subscriber, "bundle.activate", "a").1["reason"], "not_staged");
    ask(&broker, "bundle.activate", "b", &activate(&network), &[]);
    let (_, last) = end_of(&subscriber, "bundle.activate", "b");
    assert_eq!(last["state"], "succeeded", "{last}");
    let active = wait_for_state(&subscriber, "the switch", |s| s["active"]["source"] == "disk");
    assert_eq!(active["active"]["sha256"], *network);
    assert_eq!((&active["on_probation"], &active["staged"]), (&true.into(), &Value::Null));
    assert_eq!(active["previous"], before["active"]);
    eventually(LIMIT, "info with the other network", || {
        subscriber.on("/info").iter().any(|i| i["bundles"]["modic"] == *network).then_some(())
    });
    let metrics = Page::of(&daemon).get("/metrics").body;
    assert!(metrics.contains(&network) && !metrics.contains(&shipped), "{metrics}");
    let rerun = format!(",\"study_ref\":{}", first["study_ref"]);
    ask(&broker, "study.rerun", "a", &rerun, &[]);
    let second = subscriber.wait_for("/latest/finding", 2, LIMIT);
    assert_eq!((network_of(&second), &second["revision"]), (network.as_str(), &2.into()));
    assert_ne!(second["fingerprint"], first["fingerprint"]);
    ask(&broker, "self-test", "a", "", &[]);
    assert_eq!(end_of(&subscriber, "self-test", "a").1["state"], "succeeded");
    let out = folder.path().join("out");
    let analysed = std::process::Command::new(Daemon::program())
        .args(["analyze", text(&exam.folder), "--out", text(&out)])
        .args(["--config", text(&daemon.config)])
        .status();
    assert!(analysed.is_ok_and(|status| status.success()));
    let study = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let finding = std::fs::read_to_string(study.join("finding.json")).unwrap();
    assert!(finding.contains(&network), "analyze uses what the daemon uses");

    // Proven after three exams, over a restart.
    assert_eq!(state(&subscriber)["on_probation"], true);
    assert_eq!(daemon.stop(LIMIT), Some(0));
    daemon.restart();
    for seed in [32, 33] {
        let exam = Exam::small(&folder.path().join(format!("exam-{seed}")), seed);
        assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    }
    let proven = wait_for_state(&subscriber, "the proof", |s| s["on_probation"] == false);
    assert_eq!(proven["active"]["sha256"], *network);

    // And taken back: the first result is the study's again.
    ask(&broker, "bundle.rollback", "a", ",\"name\":\"modic\"", &[]);
    assert_eq!(end_of(&subscriber, "bundle.rollback", "a").1["state"], "succeeded");
    let back = wait_for_state(&subscriber, "the way back", |s| s["active"]["source"] == "program");
    assert_eq!(back["previous"]["sha256"], *network);
    let so_far = subscriber.on("/latest/finding").len();
    ask(&broker, "study.rerun", "b", &rerun, &[]);
    let again = subscriber.wait_for("/latest/finding", so_far + 1, LIMIT);
    assert_eq!(again["fingerprint"], first["fingerprint"]);
    assert_eq!(subscriber.on("/alarm/bundle_went_back").last().unwrap()["state"], "cleared");
}

#[test]
fn what_must_not_be_taken_is_refused_by_name_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let releaser = Releaser::new(folder.path(), "release");
    let stranger = Releaser::new(folder.path(), "stranger");
    let config = configuration(folder.path(), &trusting(&releaser));
    let stage = |bundle: &Path, code: &str| refused(&config, &["stage", text(bundle)], code);
    let untouched = done(&config, &["list"]);
    assert!(untouched.contains("modic: active 0.4.2"), "{untouched}");

    stage(&stranger.bundle(&at("stranger"), "modic", "0.5.0"), "wrong_signature");
    stage(&unsigned_bundle(&at("unsigned"), "modic", "0.5.0"), "not_a_package");
    for (file, code) in [
        ("manifest.toml", "wrong_signature"),
        ("manifest.toml.minisig", "wrong_signature"),
        ("network.onnx", "wrong_digest"),
        ("golden.bin", "wrong_digest"),
    ] {
        let bundle = releaser.bundle(&at(&format!("flipped-{file}")), "modic", "0.5.0");
        flip_bit(&bundle.join(file));
        stage(&bundle, code);
    }
    let more = releaser.bundle(&at("more"), "modic", "0.5.0");
    std::fs::write(more.join("run.sh"), "rm").unwrap();
    stage(&more, "not_a_package");
    stage(&folder.path().join("absent"), "unreachable");

    // Signed, and wrong nevertheless.
    let signed = |name: &str, version: &str, wrong: &dyn Fn(&Path)| {
        let bundle = unsigned_bundle(&at(name), "modic", version);
        wrong(&bundle);
        releaser.sign(&bundle, &[]);
        bundle
    };
    let golden = |bundle: &Path| {
        change(bundle, "golden.bin", |golden| {
            // The logits are the second half and more; a float's sign is its last byte's first bit.
            let end = golden.len();
            golden[end - 4 * 128 * 32..].iter_mut().skip(3).step_by(4).for_each(|b| *b ^= 0x80);
        });
    };
    stage(&signed("golden", "0.5.0", &golden), "golden_case");
    let cut = |bundle: &Path| change(bundle, "network.onnx", |onnx| onnx.truncate(100_000));
    stage(&signed("cut", "0.5.0", &cut), "bad_network");
    let other = |bundle: &Path| set(bundle, "channels", "[\"t1\", \"t2\"]");
    stage(&signed("other", "0.5.0", &other), "bad_manifest");
    stage(&signed("spleen", "0.5.0", &|b| set(b, "name", "\"spleen\"")), "bad_manifest");
    stage(&signed("one", "1", &|_| {}), "bad_manifest");
    for older in ["0.4.2", "0.4.0", "0.4.2-rc.1"] {
        stage(&signed(&format!("older-{older}"), older, &|_| {}), "not_newer");
    }
    let listed = done(&config, &["list"]);
    assert_eq!(listed.lines().next(), untouched.lines().next());
    assert!(listed.contains("refused 0.4.2-rc.1: not_newer"), "{listed}");

    // Staged, but too slow: its pixels are nine times as many.
    refused(&config, &["activate", "modic"], "nothing_staged");
    refused(&config, &["rollback", "modic"], "nothing_before");
    let slow = signed("slow", "0.5.0", &|bundle| set(bundle, "pixel_mm", "0.25"));
    done(&config, &["stage", text(&slow)]);
    refused(&config, &["activate", "modic"], "too_slow");

    // Neither an older one after a newer one was active, even if that was taken back. An old-style signature is good too.
    let good = unsigned_bundle(&at("good"), "modic", "0.6.0");
    releaser.sign(&good, &["-l"]);
    done(&config, &["stage", text(&good)]);
    done(&config, &["activate", "modic"]);
    let active = done(&config, &["list"]);
    assert!(active.contains("modic: active 0.6.0") && active.contains("on probation"), "{active}");
    done(&config, &["rollback", "modic"]);
    stage(&releaser.bundle(&at("between"), "modic", "0.5.5"), "not_newer");
    stage(&good, "not_newer");

    // Nobody is trusted; nothing is fetched; the networks are a folder's.
    let nobody = configuration(&at("nobody"), "");
    refused(&nobody, &["stage", text(&good)], "no_keys");
    refused(&config, &["stage", "https://localhost/modic.tar"], "https_off");
    refused(&config, &["stage", "http://localhost/modic.tar"], "unreachable");
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/bundles");
    let fixed = format!("bundles_dir = {bundles:?}\n{}", trusting(&releaser));
    refused(&configuration(&at("fixed"), &fixed), &["stage", text(&good)], "fixed_folder");
}

#[test]
fn a_bundle_that_takes_the_daemon_down_twice_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let releaser = Releaser::new(folder.path(), "release");
    let bundle = releaser.bundle(folder.path(), "modic", "0.5.0");
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::start(folder.path(), broker.port, &trusting(&releaser));
    // By hand while the daemon runs, which notices.
    done(&daemon.config, &["stage", text(&bundle)]);
    done(&daemon.config, &["activate", "modic"]);
    wait_for_state(&subscriber, "the switch", |s| s["active"]["version"] == "0.5.0");

    let exam = Exam::full(&folder.path().join("exam"), 41);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let state_file = daemon.state.join("bundles/state.json");
    for crash in 1..=2 {
        eventually(LIMIT, "an analysis on probation", || {
            let state = std::fs::read_to_string(&state_file).ok()?;
            state.contains("\"running\": true").then_some(())
        });
        daemon.kill();
        if crash == 1 {
            // One that only waits isn't to blame.
            let once = done(&daemon.config, &["list"]);
            assert!(once.contains("modic: active 0.5.0"), "{once}");
        }
        daemon.restart();
    }
    let gone = wait_for_state(&subscriber, "the way back", |s| s["active"]["source"] == "program");
    assert_eq!(gone["refused"]["reason"], "failed_exams");
    assert_eq!(gone["refused"]["version"], "0.5.0");
    assert!(gone["previous"].is_null(), "{gone}");
    let alarms = || subscriber.on("/alarm/bundle_went_back");
    eventually(LIMIT, "the alarm", || (alarms().last()?["state"] == "raised").then_some(()));
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert_eq!(network_of(&finding), gone["active"]["sha256"], "the exam isn't lost");
    refused(&daemon.config, &["stage", text(&bundle)], "not_newer");

    let newer = releaser.bundle(folder.path(), "modic", "0.5.1");
    done(&daemon.config, &["stage", text(&newer)]);
    done(&daemon.config, &["activate", "modic"]);
    eventually(LIMIT, "the alarm's end", || (alarms().last()?["state"] == "cleared").then_some(()));
    assert_eq!(state(&subscriber)["active"]["version"], "0.5.1");
}

#[test]
fn a_damaged_bundle_gives_way_to_the_one_before_and_that_to_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let releaser = Releaser::new(folder.path(), "release");
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::start(folder.path(), broker.port, &trusting(&releaser));
    for version in ["0.5.0", "0.6.0"] {
        let bundle = releaser.bundle(folder.path(), "modic", version);
        done(&daemon.config, &["stage", text(&bundle)]);
        done(&daemon.config, &["activate", "modic"]);
    }
    wait_for_state(&subscriber, "the switch", |s| s["active"]["version"] == "0.6.0");
    daemon.stop(LIMIT);

    let bundles = daemon.state.join("bundles");
    let folder_of = |version: &str| {
        let entries = std::fs::read_dir(&bundles).unwrap().map(|entry| entry.unwrap().path());
        let manifest = |path: &Path| std::fs::read_to_string(path.join("manifest.toml")).ok();
        let is = |path: &PathBuf| {
            manifest(path).is_some_and(|text| text.contains(&format!("version = {version:?}")))
        };
        entries.into_iter().find(is).unwrap()
    };
    flip_bit(&folder_of("0.6.0").join("network.onnx"));
    daemon.restart();
    let before = wait_for_state(&subscriber, "0.5.0", |s| s["active"]["version"] == "0.5.0");
    assert_eq!(before["refused"]["reason"], "wrong_digest");
    let alarms = || subscriber.on("/alarm/bundle_went_back");
    eventually(LIMIT, "the alarm", || (alarms().last()?["state"] == "raised").then_some(()));
    daemon.stop(LIMIT);

    flip_bit(&folder_of("0.5.0").join("manifest.toml"));
    daemon.restart();
    wait_for_state(&subscriber, "the program's", |s| s["active"]["source"] == "program");
    let exam = Exam::small(&folder.path().join("exam"), 51);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    subscriber.wait_for("/latest/finding", 1, LIMIT);
    daemon.stop(LIMIT);

    // A state that can't be read may be whole: nothing is changed or removed because of it.
    let (state, aside) = (bundles.join("state.json"), folder.path().join("aside"));
    std::fs::rename(&state, &aside).unwrap();
    std::fs::create_dir(&state).unwrap();
    let bundle = releaser.bundle(folder.path(), "modic", "0.7.0");
    refused(&daemon.config, &["stage", text(&bundle)], "disk");
    assert!(folder_of("0.6.0").exists());
    std::fs::remove_dir(&state).unwrap();
    std::fs::rename(&aside, &state).unwrap();

    std::fs::write(&state, "{").unwrap();
    daemon.restart();
    let last = wait_for_state(&subscriber, "no bundle of the disk", |s| s["refused"].is_null());
    assert_eq!(last["active"]["source"], "program");
}

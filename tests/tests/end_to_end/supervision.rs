//! What systemd sees of the daemon: ready, reloading, hanging, stopping. A socket stands in for it here; the packages' test
//! boots systemd itself.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use modicd::status::Status;
use modicd_tests::{
    Broker, Daemon, Exam, ServiceManager, Subscriber, echoscu, eventually, storescu,
};

const LIMIT: Duration = Duration::from_secs(120);

/// A daemon, not yet started, with what it tells its service manager and its broker.
struct Supervised {
    subscriber: Subscriber,
    manager: ServiceManager,
    daemon: Daemon,
    broker: Broker,
    folder: tempfile::TempDir,
}

impl Supervised {
    /// With more keys in `[worker]`.
    fn new(worker: &str) -> Supervised {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Broker::start(folder.path());
        let subscriber = Subscriber::start(&broker);
        let manager = ServiceManager::start(folder.path());
        let mut daemon = Daemon::prepare(folder.path(), broker.port, ["", worker, "", ""]);
        daemon.environment.push(("NOTIFY_SOCKET", manager.address().into()));
        Supervised { subscriber, manager, daemon, broker, folder }
    }
}

/// The daemon with switches that make it fail.
fn with_failpoints(daemon: &mut Daemon, failpoints: &str) {
    daemon.program = Daemon::program().with_file_name("modicd-failpoints");
    daemon.environment.push(("FAILPOINTS", failpoints.into()));
}

#[test]
fn a_bad_configuration_is_refused_as_a_whole_and_a_good_one_taken_without_closing_a_port() {
    let Supervised { subscriber, mut manager, mut daemon, broker, folder } = Supervised::new("");
    daemon.restart();
    let mut told = manager.wait_for("READY=1", 0, LIMIT);
    let status = Status::read(&daemon.state).expect("the state folder can be read");
    assert!(status.is_some_and(|status| status.is_alive()), "ready, it has said that it runs");
    let good = std::fs::read_to_string(&daemon.config).unwrap();

    let elsewhere = good.replace(&daemon.state.display().to_string(), "/nowhere");
    let taken = good
        .replace(&format!("127.0.0.1:{}", daemon.page_port), &format!("127.0.0.1:{}", broker.port));
    for (bad, word) in [
        (format!("{good}[mqttt]\n"), "mqttt"),
        (elsewhere, "state_dir can't change"),
        (
            format!(
                "{good}[[pacs]]\nname = 'a'\n[pacs.dicom]\nhost = 'h'\nport = 104\ncalled_ae = 'A'\n\
            [pacs.dicom.tls]\nca_file = '/no/such.pem'\n"
            ),
            "/no/such.pem",
        ),
        (format!("bundles_dir = '/no/such'\n{good}"), "/no/such"),
        (taken, "the former one comes back"),
    ] {
        std::fs::write(&daemon.config, &bad).unwrap();
        daemon.signal("HUP");
        told = manager.wait_for("STATUS=Running; a changed configuration was refused", told, LIMIT);
        assert!(daemon.log().contains(word), "the journal names {word}");
        assert!(echoscu(daemon.dicom_port), "after {word} the daemon goes on");
    }
    let raised = eventually(LIMIT, "the alarm", || {
        let alarms = subscriber.on("/alarm/config_refused");
        alarms.iter().any(|alarm| alarm["state"] == "raised").then_some(alarms.len())
    });

    // An exam that waits is not lost, and who connects meanwhile is served.
    let exam = Exam::small(&folder.path().join("exam"), 33);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    std::fs::write(
        &daemon.config,
        good.replace("[receive]\n", "[receive]\nae_title = \"OTHER\"\n"),
    )
    .unwrap();
    daemon.signal("HUP");
    let address = format!("127.0.0.1:{}", daemon.dicom_port);
    let mut connections = 0;
    while !daemon.log().contains("ae_title=OTHER") {
        TcpStream::connect(&address).expect("the port stays open");
        connections += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(connections > 3, "{connections} connections while the configuration changed");
    told = manager.wait_for("RELOADING=1", told, LIMIT);
    told = manager.wait_for("MONOTONIC_USEC=", told - 1, LIMIT);
    told = manager.wait_for("READY=1", told, LIMIT);
    // The change that every installation begins with: the same port, for everybody.
    let open = std::fs::read_to_string(&daemon.config).unwrap();
    let loopback = format!("127.0.0.1:{}", daemon.dicom_port);
    std::fs::write(
        &daemon.config,
        open.replace(&loopback, &loopback.replace("127.0.0.1", "0.0.0.0")),
    )
    .unwrap();
    daemon.signal("HUP");
    told = manager.wait_for("STATUS=Receiving", told + 1, LIMIT);
    let opened = format!("address=0.0.0.0:{}", daemon.dicom_port);
    eventually(LIMIT, "the open port", || daemon.log().contains(&opened).then_some(()));
    assert!(!echoscu(daemon.dicom_port), "the former title is called no more");
    assert!(storescu(daemon.dicom_port, &["-aec", "OTHER"], &exam.folder).status.success());
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    eventually(LIMIT, "the alarm's end", || {
        let alarms = subscriber.on("/alarm/config_refused");
        (alarms.len() > raised && alarms.last()?["state"] == "cleared").then_some(())
    });

    assert_eq!(daemon.stop(LIMIT), Some(0));
    manager.wait_for("STOPPING=1", told, LIMIT);
    let words = subscriber.all();
    let said = words.iter().rfind(|m| m.topic.ends_with("/availability")).unwrap();
    assert_eq!(said.payload, "stopped");
}

#[test]
fn the_watchdog_is_fed_while_the_daemon_idles_and_works_and_starves_when_it_hangs() {
    let Supervised { subscriber, mut manager, mut daemon, broker: _broker, folder } =
        Supervised::new("stall_after_s = 30");
    // The first slice takes an hour.
    with_failpoints(&mut daemon, "analysis-step=sleep(3600000)");
    daemon.environment.push(("WATCHDOG_USEC", "3000000".into()));
    daemon.restart();
    manager.wait_for("READY=1", 0, LIMIT);
    assert!(manager.count_for("WATCHDOG=1", Duration::from_secs(5)) >= 3, "idle");
    let exam = Exam::small(&folder.path().join("exam"), 34);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    eventually(LIMIT, "the journal's word", || {
        // Telling blocks where nobody listens.
        manager.count_for("", Duration::from_millis(200));
        daemon.log().contains("the watchdog isn't fed any more").then_some(())
    });
    assert!(daemon.log().contains("the worker"));
    manager.count_for("", Duration::from_secs(1));
    assert_eq!(manager.count_for("WATCHDOG=1", Duration::from_secs(5)), 0, "hanging");

    // systemd would kill it now and start it again: nothing is lost.
    daemon.kill();
    daemon.program = Daemon::program();
    daemon.restart();
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
}

#[test]
fn a_stop_is_graceful_within_its_limit_and_costs_the_study_no_attempt() {
    // One attempt alone: one that counted would be the last.
    let keys = "stop_limit_s = 1\nmax_attempts = 1";
    let Supervised { subscriber, manager: _manager, mut daemon, broker: _broker, folder } =
        Supervised::new(keys);
    with_failpoints(&mut daemon, "analysis-step=sleep(1500)");
    daemon.restart();
    let exam = Exam::small(&folder.path().join("exam"), 35);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    subscriber.wait_for("/event/study.received", 1, LIMIT);
    let began = Instant::now();
    assert_eq!(daemon.stop(LIMIT), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "stopping took {:?}", began.elapsed());
    assert!(daemon.log().contains("broken off"));
    assert!(subscriber.on("/event/study.completed").is_empty());

    daemon.program = Daemon::program();
    daemon.restart();
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    assert!(subscriber.on("/event/study.failed").is_empty());
}

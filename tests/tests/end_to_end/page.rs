//! The page of a real daemon: in Chromium, and as a client without the token meets it.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use modicd_tests::{
    Broker, Certificates, Daemon, Defect, Exam, Page, Subscriber, browser, storescu,
    storescu_command,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn an_exam_is_seen_in_the_browser_with_its_map_where_the_finding_is() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let page = Page::of(&daemon);
    // Two findings in different slices.
    let exam = Exam::full(&folder.path().join("exam"), 7);
    let rejected = Exam::small(&folder.path().join("rejected"), 3).spoil(Defect::T1Only);
    let send = |exam: &Exam| -> Vec<String> {
        let command = storescu_command(daemon.dicom_port, &[], &exam.folder);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_str().unwrap().to_owned()).collect()
    };
    let said = browser(
        "page",
        &json!({
            "base": page.base,
            "token": page.token,
            "send": send(&exam),
            "rejected": send(&rejected),
            "state": daemon.state,
            "pictures": std::env::var("MODICD_PICTURES").ok(),
        }),
    );
    println!("{said}");
}

#[test]
fn without_the_token_nothing_is_answered_and_guessing_is_slow() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let page = Page::of(&daemon);
    let exam = Exam::small(&folder.path().join("exam"), 7);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    let study = finding["study_ref"].as_str().unwrap();

    let result = format!("/api/exams/{study}/1");
    let mut guarded: Vec<String> =
        ["/api/exams", "/api/health", "/api/logs", "/api/events"].map(str::to_owned).to_vec();
    guarded.extend([format!("/api/exams/{study}"), result.clone()]);
    let details: Value = serde_json::from_str(&page.get_with_token(&result).body).unwrap();
    for download in details["downloads"].as_array().unwrap() {
        guarded.push(format!("{result}/{}", download["name"].as_str().unwrap()));
    }
    assert!(guarded.len() > 14, "{guarded:?}");
    for path in &guarded {
        let answer = page.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (401, ""), "{path}");
    }
    for path in ["/", "/js/app.js", "/healthz"] {
        let answer = page.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains(study), "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(page.get_with_token("/api/exams").header("cache-control"), "no-store");
    let outside = format!("{result}/..%2f..%2f..%2f..%2fsite.key");
    for (path, status) in [("/api/exams/../../site.key", 400), (&outside, 404)] {
        assert_eq!(page.get_with_token(path).status, status, "{path}");
    }
    let elsewhere = page.get_with("/", &[("host", "evil.example")]);
    assert_eq!(elsewhere.status, 421, "a name that was rebound to this machine");

    // The cookie opens the page, but not for another origin's script.
    let body = json!({ "token": page.token }).to_string();
    let signed_in = page.post("/api/login", &body, &[]);
    assert_eq!(signed_in.status, 204);
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(page.get_with("/api/exams", &[("cookie", &cookie)]).status, 200);
    assert_eq!(page.get_with("/api/exams", &[("cookie", "modicd=1")]).status, 401);

    let wrong = |n: usize| {
        let guess = format!("Bearer wrong-token-number-{n}");
        page.get_with("/api/exams", &[("authorization", &guess)])
    };
    let statuses: Vec<u16> = (0..6).map(|n| wrong(n).status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 429, 429]);
    assert!(!wrong(7).header("retry-after").is_empty());
    assert_eq!(page.get_with_token("/api/exams").status, 429, "while it waits, nothing is tried");
    assert_eq!(page.get_with("/api/exams", &[("cookie", &cookie)]).status, 200, "signed in stays");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(page.get_with_token("/api/exams").status, 200);
}

/// Reads one answer to the end of its body; gives its status.
fn read_answer(connection: &mut BufReader<TcpStream>) -> u16 {
    let mut line = || {
        let mut line = String::new();
        connection.read_line(&mut line).expect("the connection is open");
        line
    };
    let status = line().split(' ').nth(1).expect("an answer").parse().expect("a status");
    let mut length = 0;
    loop {
        let line = line().to_ascii_lowercase();
        match line.trim().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().expect("a length"),
            Some(_) => {}
            None => break,
        }
    }
    connection.read_exact(&mut vec![0; length]).expect("a body");
    status
}

#[test]
fn a_request_that_is_refused_before_its_body_came_leaves_the_connection_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let connection = TcpStream::connect(("127.0.0.1", daemon.page_port)).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    let mut connection = BufReader::new(connection);
    let mut send = |host: &str, path: &str, body: &str| {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        connection.get_mut().write_all(body.as_bytes()).unwrap();
        read_answer(&mut connection)
    };
    assert_eq!(send("localhost", "/api/readings", "{}"), 401);
    assert_eq!(send("evil.example", "/api/readings", "{}"), 421);
    assert_eq!(send("localhost", "/api/reading/pilot/0123456789abcdef/blind", "{}"), 401);
    assert_eq!(send("localhost", "/nothing", "{}"), 405);
    assert_eq!(send("localhost", "/api/logout", "{}"), 204);
}

#[test]
fn the_page_speaks_tls_and_stops_with_an_open_event_stream() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let certificates = Certificates::make(&folder.path().join("tls"));
    let token = folder.path().join("token");
    std::fs::write(&token, "a token of the hospital's own\n").unwrap();
    let tls = format!(
        "token_file = {token:?}\n[page.tls]\ncert_file = {:?}\nkey_file = {:?}\n",
        certificates.server, certificates.server_key
    );
    let mut daemon = Daemon::start_with_page(folder.path(), broker.port, &tls);
    let address = format!("https://localhost:{}", daemon.page_port);
    let curl = |arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--cacert"]).arg(&certificates.authority);
        command.args(arguments).arg(format!("{address}{path}"));
        command
    };
    let bearer = "authorization: Bearer a token of the hospital's own";
    let exams = curl(&["-H", bearer], "/api/exams").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&exams.stdout), r#"{"exams":[],"total":0}"#);
    let body = r#"{"token":"a token of the hospital's own"}"#;
    let sign_in = ["-i", "-H", "content-type: application/json", "-d", body];
    let signed_in = curl(&sign_in, "/api/login").output().unwrap();
    let head = String::from_utf8_lossy(&signed_in.stdout).into_owned();
    assert!(head.contains("; Secure") && head.contains("HttpOnly"), "{head}");
    let plain = Command::new("curl")
        .args(["--silent", "--max-time", "5", &address.replace("https", "http")])
        .output()
        .unwrap();
    assert!(!plain.status.success(), "plain HTTP isn't answered");

    let mut stream =
        curl(&["--no-buffer", "-H", bearer], "/api/events").stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(stream.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"event:");
    let stopping = std::time::Instant::now();
    assert_eq!(daemon.stop(Duration::from_secs(30)), Some(0));
    println!("stopped with an open stream in {:.2} s", stopping.elapsed().as_secs_f64());
    assert!(stream.wait().unwrap().success(), "the stream ended in good order");
}

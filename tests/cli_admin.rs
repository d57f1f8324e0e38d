//! The commands that ask a running server: what they send, print and exit with, before an endpoint made of bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::relay::{binary, run_to_exit};

/// An endpoint that gives the same answer to everything and keeps what it is asked.
struct FakeEndpoint {
    directory: TempDir,
    asked: mpsc::Receiver<String>,
}

impl FakeEndpoint {
    fn start(answer: Vec<u8>) -> FakeEndpoint {
        let directory = TempDir::new().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("admin.sock")).expect("a socket");
        let (sender, asked) = mpsc::channel();
        thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                // Kept before it is answered: who asked is looked at once it has its answer.
                let _ = sender.send(read_request(&mut connection));
                // Who asked may have ended.
                let _ = connection.write_all(&answer);
            }
        });
        FakeEndpoint { directory, asked }
    }

    fn json(status: u16, body: &str) -> FakeEndpoint {
        FakeEndpoint::start(http(status, "application/json", body))
    }

    fn line(status: u16, line: &str) -> FakeEndpoint {
        FakeEndpoint::start(http(status, "text/plain; charset=utf-8", &format!("{line}\n")))
    }

    fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("admin.sock").display())
    }

    /// Runs `outflow` with these arguments and this endpoint's address.
    fn run(&self, arguments: &[&str]) -> Output {
        outflow(&[arguments, &["--admin", &self.address()]].concat())
    }

    /// The first line of the request that was made, and its body.
    fn was_asked(&self) -> (String, String) {
        let request = self.asked.try_recv().expect("a request");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        (head.lines().next().expect("a line").to_owned(), body.to_owned())
    }
}

fn http(status: u16, media: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A head, and as much behind it as it says.
fn read_request(connection: &mut impl Read) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    let whole = |text: &str| {
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        body.len() >= length.map_or(0, |length| length.parse().expect("a length"))
    };
    while !whole(&text) && connection.read(&mut byte).is_ok_and(|count| count == 1) {
        text.push(char::from(byte[0]));
    }
    text
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("OUTFLOW_ADMIN");
    command
}

fn outflow(arguments: &[&str]) -> Output {
    run_to_exit(command(arguments))
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SESSION: &str = r#"{"total": 2, "matched": 1, "sessions": [{"id": "6928a1f000000000000c", "user": "a\u001b]0;x\u0007",
    "client": "127.0.0.1:40000", "target": "example.com:443", "state": "relaying", "age_ms": 61000,
    "bytes_up": 10, "bytes_down": 2000, "rate_up": null, "rate_down": null}]}"#;

const CHANGES: &str = r#"{"applied": true, "changes": [{"key": "timeouts.idle", "from": "\"2h\"", "to": "\"1m\"", "taken": true}],
        "needs_hand_over": [], "warnings": ["a\u001bb"]}"#;

/// What a command does: its arguments, the endpoint's answer, the request and its body, and what is said of it.
struct Case(&'static [&'static str], &'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    Case(&["sessions"], SESSION, "GET /api/v1/sessions", "", "1 of 2 sessions\n"),
    Case(
        &["sessions", "--user", "ann b", "--target", "*.example.com", "--min-age", "5m", "--min-bytes", "7"],
        SESSION,
        "GET /api/v1/sessions?user=ann%20b&target=%2A.example.com&min_age=5m&min_bytes=7",
        "",
        "a\\u{1b}]0;x\\u{7}",
    ),
    Case(
        &["sessions", "--sort", "-bytes", "--limit", "5", "--offset", "10", "--worker", "0"],
        SESSION,
        "GET /api/v1/sessions?worker=0&sort=-bytes&limit=5&offset=10",
        "",
        "1m 01s",
    ),
    Case(&["sessions", "--json"], SESSION, "GET /api/v1/sessions", "", SESSION),
    Case(
        &["sessions", "--kill", "6928a1f0/../x"],
        r#"{"ended": 1}"#,
        "DELETE /api/v1/sessions/6928a1f0%2F..%2Fx",
        "",
        "ended 1 session\n",
    ),
    Case(
        &["sessions", "--kill", "--user", "ann", "--rule", "office", "--state", "relaying"],
        r#"{"ended": 7}"#,
        "DELETE /api/v1/sessions?user=ann&rule=office&state=relaying",
        "",
        "ended 7 sessions\n",
    ),
    Case(&["stats"], r#"{"version": "0.1.0", "state": "serving"}"#, "GET /api/v1/stats", "", "outflow 0.1.0"),
    Case(&["stats", "--json"], r#"{"b": 1, "a": 2}"#, "GET /api/v1/stats", "", "{\"b\": 1, \"a\": 2}\n"),
    Case(
        &["reload"],
        CHANGES,
        "POST /api/v1/reload",
        r#"{"dry_run":false}"#,
        "timeouts.idle  \"2h\" -> \"1m\"\n",
    ),
    Case(
        &["reload", "--dry-run"],
        CHANGES,
        "POST /api/v1/reload",
        r#"{"dry_run":true}"#,
        "a reload would change 1 key\n",
    ),
    Case(
        &["drain"],
        r#"{"state": "draining", "sessions": 3}"#,
        "POST /api/v1/drain",
        r#"{"exit":false}"#,
        "3 sessions left\n",
    ),
    Case(
        &["drain", "--exit"],
        r#"{"state": "draining", "sessions": 1}"#,
        "POST /api/v1/drain",
        r#"{"exit":true}"#,
        "1 session left, and then the end\n",
    ),
    Case(
        &["drain", "--after", "1ms"],
        r#"{"state": "draining", "sessions": 0}"#,
        "POST /api/v1/drain",
        r#"{"exit":false}"#,
        "0 sessions left\n",
    ),
    Case(
        &["drain", "--undo"],
        r#"{"state": "serving", "sessions": 0}"#,
        "DELETE /api/v1/drain",
        "",
        "serving",
    ),
    Case(
        &["quota", "show", "source:192.0.2.1", "--name", "a b", "--reached", "--sort", "-used"],
        r#"{"total": 1, "matched": 1, "quotas": [{"name": "a b", "holder": "source:192.0.2.1\u001b", "used": 5, "bytes": 5}]}"#,
        "GET /api/v1/quotas?holder=source%3A192.0.2.1&name=a%20b&reached=true&sort=-used",
        "",
        "1 use\n",
    ),
    Case(
        &["quota", "reset", "plan", "--all"],
        r#"{"limit": "plan", "holder": null, "accounts": 3, "bytes": null, "kept": true}"#,
        "POST /api/v1/quotas/reset",
        r#"{"all":true,"limit":"plan"}"#,
        "by 3 holders\n",
    ),
    Case(
        &["quota", "reset", "plan", "user:ann"],
        r#"{"limit": "plan", "holder": "user:ann", "accounts": 1, "bytes": 5, "kept": false}"#,
        "POST /api/v1/quotas/reset",
        r#"{"holder":"user:ann","limit":"plan"}"#,
        "not on disk yet",
    ),
    Case(
        &["egress", "list"],
        r#"{"pools": [{"egress": "fleet\u001b", "select": "sticky", "addresses": {"serving": 3}}], "total": 4, "addresses": []}"#,
        "GET /api/v1/egress?limit=0",
        "",
        "1 pool\n",
    ),
    Case(
        &["egress", "show", "a b", "--state", "cooled", "--sort", "-ports", "--limit", "5"],
        r#"{"pools": [], "total": 4, "matched": 1, "addresses": [{"address": "192.0.2.1", "state": "cooled", "cause": "missing"}]}"#,
        "GET /api/v1/egress?name=a%20b&state=cooled&sort=-ports&limit=5",
        "",
        "1 shown of 1 that match, of 4\n",
    ),
    Case(
        &["egress", "drain", "fleet", "2001:db8::7"],
        r#"{"egress": "fleet", "address": "2001:db8::7", "drained": true, "changed": true}"#,
        "POST /api/v1/egress/drain",
        r#"{"address":"2001:db8::7","egress":"fleet"}"#,
        "no new session leaves from 2001:db8::7 of fleet\n",
    ),
    Case(
        &["egress", "restore", "fleet", "192.0.2.1", "--json"],
        r#"{"egress":"fleet","address":"192.0.2.1","drained":false,"changed":true}"#,
        "POST /api/v1/egress/restore",
        r#"{"address":"192.0.2.1","egress":"fleet"}"#,
        "\"drained\":false",
    ),
    Case(
        &["parent", "list"],
        r#"{"parents": [{"parent": "up\u001b", "select": "sticky", "servers": {"up": 3}}], "total": 4, "servers": []}"#,
        "GET /api/v1/parents?limit=0",
        "",
        "1 parent\n",
    ),
    Case(
        &["parent", "show"],
        r#"{"parents": [], "total": 2, "matched": 2, "servers": [{"parent": "up"}, {"server": "http://a:1\u001b"}]}"#,
        "GET /api/v1/parents",
        "",
        "2 listed\n",
    ),
    Case(
        &["parent", "show", "a b", "--state", "down", "--sort", "-failures", "--limit", "5"],
        r#"{"parents": [], "total": 4, "matched": 1, "servers": [{"server": "http://a:1", "state": "down"}]}"#,
        "GET /api/v1/parents?name=a%20b&state=down&sort=-failures&limit=5",
        "",
        "1 shown of 1 that match, of 4\n",
    ),
    Case(
        &["parent", "drain", "up", "socks5h://192.0.2.1:1080"],
        r#"{"parent": "up", "server": "socks5h://192.0.2.1:1080", "drained": true, "changed": true}"#,
        "POST /api/v1/parents/drain",
        r#"{"parent":"up","server":"socks5h://192.0.2.1:1080"}"#,
        "no new session goes through socks5h://192.0.2.1:1080 of up\n",
    ),
    Case(
        &["parent", "restore", "up", "2", "--json"],
        r#"{"parent":"up","server":"http://a:1","drained":false,"changed":true}"#,
        "POST /api/v1/parents/restore",
        r#"{"parent":"up","server":"2"}"#,
        "\"drained\":false",
    ),
];

#[test]
fn each_command_makes_its_request_and_says_what_came_of_it() {
    for &Case(arguments, answer, request, body, said) in CASES {
        let endpoint = FakeEndpoint::json(200, answer);
        let output = endpoint.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        assert_eq!(endpoint.was_asked(), (format!("{request} HTTP/1.1"), body.to_owned()), "{arguments:?}");
        assert!(stdout(&output).contains(said), "{arguments:?}: {}", stdout(&output));
        let shown = [stdout(&output), stderr(&output)].concat();
        assert!(arguments.contains(&"--json") || !shown.contains('\u{1b}'), "{arguments:?}: {shown:?}");
    }
}

/// A balancer that learns of it late still sends clients: until the delay is over the server is asked nothing.
#[test]
fn a_drain_may_wait_before_it_asks() {
    let endpoint = FakeEndpoint::json(200, r#"{"state": "draining", "sessions": 0}"#);
    let delay = Duration::from_millis(300);
    let began = Instant::now();
    assert_eq!(code(&endpoint.run(&["drain", "--after", "300ms"])), 0);
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    assert_eq!(endpoint.was_asked().0, "POST /api/v1/drain HTTP/1.1");
    for (arguments, said) in [
        (["--after", "1h"].as_slice(), "10m at most"),
        (&["--after", "soon"], "soon"),
        (&["--after", "1s", "--undo"], "cannot be used with"),
    ] {
        let output = endpoint.run(&[&["drain"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert!(endpoint.asked.try_recv().is_err(), "{arguments:?}: it was asked");
    }
}

#[test]
fn health_is_a_line_and_an_exit_code() {
    for (arguments, status, line, expected) in [
        (&["health"][..], 200, "alive", 0),
        (&["health"], 503, "worker 1 has stood in one turn for 5s", 1),
        (&["health", "--ready"], 200, "ready", 0),
        (&["health", "--ready"], 200, "ready, degraded: quotas are not kept", 0),
        (&["health", "--ready"], 503, "draining", 1),
    ] {
        let endpoint = FakeEndpoint::line(status, line);
        let output = endpoint.run(arguments);
        assert_eq!((code(&output), stdout(&output)), (expected, format!("{line}\n")), "{}", stderr(&output));
        let path = if arguments.len() == 1 { "/healthz" } else { "/readyz" };
        assert_eq!(endpoint.was_asked().0, format!("GET {path} HTTP/1.1"));
    }
}

/// Another server's page says OK, and is no sign of life of ours.
#[test]
fn another_servers_health_is_not_ours() {
    for answer in [
        http(200, "text/plain", "OK\n"),
        http(200, "text/plain", "ready\n"),
        http(200, "text/html", "alive\n"),
        http(404, "text/plain", "alive\n"),
        http(200, "application/json", "{\"status\": \"UP\"}"),
    ] {
        let output = FakeEndpoint::start(answer).run(&["health"]);
        assert_eq!((code(&output), stdout(&output)), (1, String::new()));
        assert!(stderr(&output).starts_with("outflow: no admin endpoint of outflow answers on unix:"));
    }
}

const COMMANDS: [&[&str]; 6] =
    [&["sessions"], &["stats"], &["reload"], &["drain"], &["health"], &["sessions", "--kill", "1"]];

#[test]
fn where_nothing_listens_each_command_says_so() {
    let directory = TempDir::new().expect("a directory");
    let address = format!("unix:{}", directory.path().join("admin.sock").display());
    for arguments in COMMANDS {
        let output = outflow(&[arguments, &["--admin", &address]].concat());
        assert_eq!((code(&output), stdout(&output)), (1, String::new()), "{arguments:?}");
        let said = format!("outflow: nothing listens on {address}: is outflow run with --admin?\n");
        assert_eq!(stderr(&output), said, "{arguments:?}");
    }
}

#[test]
fn a_refusal_is_said_in_the_servers_words() {
    for (status, error, said) in [
        (401, "a token is needed", "outflow: a token is needed (--token-file FILE)\n"),
        (403, "this is for the user 0\u{7} alone", "outflow: this is for the user 0\\u{7} alone\n"),
        (409, "a reload is under way", "outflow: a reload is under way\n"),
    ] {
        let endpoint = FakeEndpoint::json(status, &serde_json::json!({"error": error}).to_string());
        for arguments in COMMANDS {
            let output = endpoint.run(arguments);
            assert_eq!((code(&output), stderr(&output)), (1, said.to_owned()), "{arguments:?}");
        }
    }
}

#[test]
fn a_reload_that_is_refused_prints_the_problems() {
    let endpoint = FakeEndpoint::json(
        422,
        r#"{"error": "the configuration cannot be used: nothing has changed",
            "problems": ["/etc/outflow.toml:3: [server] key `relay`: \"x\"", "/etc/outflow.toml:9: twice"]}"#,
    );
    let output = endpoint.run(&["reload"]);
    assert_eq!(code(&output), 1);
    assert_eq!(
        stderr(&output),
        "outflow: the configuration cannot be used: nothing has changed\n\
         /etc/outflow.toml:3: [server] key `relay`: \"x\"\n/etc/outflow.toml:9: twice\n"
    );
}

/// A worker that stands still is one whose sessions are neither listed nor ended.
#[test]
fn an_answer_that_lacks_something_says_so() {
    let warning =
        r#"{"ended": 3, "total": 3, "matched": 3, "sessions": [], "warning": "worker 1 has not answered"}"#;
    let endpoint = FakeEndpoint::json(200, warning);
    let said = "warning: worker 1 has not answered\n";
    let listed = endpoint.run(&["sessions"]);
    assert_eq!((code(&listed), stderr(&listed)), (0, said.to_owned()));
    let ended = endpoint.run(&["sessions", "--kill", "--user", "ann"]);
    assert_eq!(
        (code(&ended), stdout(&ended), stderr(&ended)),
        (1, "ended 3 sessions\n".into(), said.to_owned())
    );
}

/// A variable that is not set in a script once would have chosen every session.
#[test]
fn a_command_line_that_could_end_more_than_was_meant_asks_for_nothing() {
    let endpoint = FakeEndpoint::json(200, r#"{"ended": 9}"#);
    for arguments in [
        &["sessions", "--kill"][..],
        &["sessions", "--kill", ""],
        &["sessions", "--kill", "--user", ""],
        &["sessions", "--kill", "1", "--user", "ann"],
        &["sessions", "--kill", "1", "--limit", "1"],
        &["sessions", "--kill", "--sort", "age", "--user", "ann"],
        &["drain", "--undo", "--exit"],
        &["reload", "--dryrun"],
    ] {
        let output = endpoint.run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stdout(&output));
        assert!(endpoint.asked.try_recv().is_err(), "{arguments:?}");
    }
}

#[test]
fn the_environment_names_the_endpoint_where_the_command_line_does_not() {
    let endpoint = FakeEndpoint::line(200, "alive");
    let health = |variable: &str, arguments: &[&str]| {
        let mut command = command(&[&["health"], arguments].concat());
        run_to_exit({
            command.env("OUTFLOW_ADMIN", variable);
            command
        })
    };
    assert_eq!(code(&health(&endpoint.address(), &[])), 0);
    assert_eq!(code(&health("unix:/nowhere/admin.sock", &[])), 1);
    assert_eq!(code(&health("unix:/nowhere/admin.sock", &["--admin", &endpoint.address()])), 0);
    let output = health("nonsense", &[]);
    assert_eq!(code(&output), 2);
    assert_eq!(stderr(&output), "outflow: OUTFLOW_ADMIN=nonsense: expected HOST:PORT or unix:PATH\n");
    let typed = outflow(&["health", "--admin", "nonsense"]);
    assert_eq!(code(&typed), 2);
    assert!(stderr(&typed).contains("expected HOST:PORT or unix:PATH"), "{}", stderr(&typed));
}

#[test]
fn a_token_comes_from_its_file() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "s3cret\n").expect("write");
    let endpoint = FakeEndpoint::json(200, r#"{"ended": 1}"#);
    let path = file.to_str().expect("UTF-8");
    assert_eq!(code(&endpoint.run(&["stats", "--token-file", path])), 0);
    assert!(endpoint.asked.try_recv().expect("a request").contains("\r\nAuthorization: Bearer s3cret\r\n"));
    let output = endpoint.run(&["stats", "--token-file", "/nowhere/token"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).starts_with("outflow: --token-file: /nowhere/token: "), "{}", stderr(&output));
}

/// `outflow sessions | head -1` once would have been a panic.
#[test]
fn a_reader_that_leaves_is_no_panic() {
    let endpoint = FakeEndpoint::json(200, SESSION);
    for arguments in [&["sessions"][..], &["sessions", "--json"], &["stats"], &["man"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = match arguments {
            ["man"] => command(arguments),
            _ => command(&[arguments, &["--admin", &endpoint.address()]].concat()),
        };
        let child =
            command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().expect("start");
        let output = child.wait_with_output().expect("wait");
        assert_eq!((code(&output), stderr(&output)), (1, String::new()), "{arguments:?}");
    }
    // Where something was done, that counts.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let killed = FakeEndpoint::json(200, r#"{"ended": 1}"#);
    let mut command = command(&["sessions", "--kill", "1", "--admin", &killed.address()]);
    assert!(command.stdin(Stdio::null()).stdout(writer).status().expect("run").success());
}

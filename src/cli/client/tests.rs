//! The client against servers that are made of bytes.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Gives one answer to one request on a unix socket, and keeps what was asked.
struct FakeServer {
    directory: TempDir,
    asked: JoinHandle<String>,
}

impl FakeServer {
    fn answering(answer: &str) -> FakeServer {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("a.sock")).unwrap();
        let answer = answer.to_owned();
        let asked = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let asked = read_request(&mut connection);
            connection.write_all(answer.as_bytes()).unwrap();
            asked
        });
        FakeServer { directory, asked }
    }

    fn json(status: u16, body: &str) -> FakeServer {
        FakeServer::answering(&http(status, "application/json", body))
    }

    fn client(&self) -> AdminClient {
        client(EndpointAddress::Unix(self.directory.path().join("a.sock")))
    }
}

fn http(status: u16, media: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A request with its body, as the head's Content-Length says.
fn read_request(connection: &mut impl Read) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    let length = |head: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        line.map_or(0, |value| value.parse().unwrap())
    };
    while text.find("\r\n\r\n").is_none_or(|end| text.len() < end + 4 + length(&text)) {
        connection.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

fn client(address: EndpointAddress) -> AdminClient {
    AdminClient { address, token: None, patience: Duration::from_secs(10) }
}

fn tcp(listener: &TcpListener) -> EndpointAddress {
    EndpointAddress::parse(&listener.local_addr().unwrap().to_string()).unwrap()
}

#[test]
fn a_request_is_one_of_http_1_1_and_its_answer_is_given() {
    let server = FakeServer::json(200, r#"{"sessions": 3}"#);
    let query = target("/api/v1/sessions", &[("user", "a b&c=\r\n"), ("limit", "5")]);
    assert_eq!(server.client().get(&query).unwrap(), json!({"sessions": 3}));
    let asked = server.asked.join().unwrap();
    assert_eq!(
        asked,
        format!(
            "GET /api/v1/sessions?user=a%20b%26c%3D%0D%0A&limit=5 HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\nUser-Agent: outflow/{}\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn a_body_is_json_and_a_token_goes_with_the_request() {
    let server = FakeServer::json(200, r#"{"applied": false}"#);
    let mut client = server.client();
    client.token = Some(Zeroizing::new("s3cret".into()));
    client.post("/api/v1/reload", &json!({"dry_run": true})).unwrap();
    let asked = server.asked.join().unwrap();
    assert!(asked.starts_with("POST /api/v1/reload HTTP/1.1\r\n"), "{asked}");
    for line in ["Authorization: Bearer s3cret", "Content-Type: application/json", "Content-Length: 16"] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "no {line} in {asked}");
    }
    assert!(asked.ends_with("\r\n\r\n{\"dry_run\":true}"), "{asked}");
}

#[test]
fn the_text_of_an_answer_is_as_it_came() {
    let text = r#"{"b": 1, "a": 2.50}"#;
    assert_eq!(FakeServer::json(200, text).client().get_text("/x").unwrap(), text);
    let line = FakeServer::answering(&http(503, "text/plain; charset=utf-8", "draining\n"));
    assert_eq!(line.client().line("/readyz").unwrap(), (503, "draining".to_owned()));
}

#[test]
fn an_address_of_tcp_is_asked_under_its_own_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(&listener);
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let asked = read_request(&mut connection);
        connection.write_all(http(200, "application/json", "{}").as_bytes()).unwrap();
        asked
    });
    assert_eq!(client(address.clone()).delete("/api/v1/drain").unwrap(), json!({}));
    let asked = server.join().unwrap();
    assert!(asked.starts_with(&format!("DELETE /api/v1/drain HTTP/1.1\r\nHost: {address}\r\n")), "{asked}");
}

#[test]
fn a_refusal_is_given_in_the_words_of_the_server() {
    let server = FakeServer::json(
        422,
        r#"{"error": "the configuration cannot be used: nothing has changed",
            "problems": ["/etc/o.toml:3: [server] key \"relay\"", "/etc/o.toml:4: a\u001b[2J"]}"#,
    );
    let error = server.client().post("/api/v1/reload", &json!({})).unwrap_err();
    assert!(matches!(&error, ClientError::Refused(refusal) if refusal.status == 422), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the configuration cannot be used: nothing has changed\n\
         /etc/o.toml:3: [server] key \"relay\"\n/etc/o.toml:4: a\\u{1b}[2J"
    );
    let denied = FakeServer::json(401, r#"{"error": "a token is needed"}"#).client().get("/x").unwrap_err();
    assert_eq!(denied.to_string(), "a token is needed (--token-file FILE)");
}

#[test]
fn where_nothing_listens_it_is_said() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(&gone);
    drop(gone);
    let said = client(address.clone()).get("/x").unwrap_err().to_string();
    assert_eq!(said, format!("nothing listens on {address}: is outflow run with --admin?"));

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    for path in [path, directory.path().join("other.sock")] {
        let said = client(EndpointAddress::Unix(path.clone())).get("/x").unwrap_err().to_string();
        let expected = format!("nothing listens on unix:{}: is outflow run with --admin?", path.display());
        assert_eq!(said, expected);
    }
}

#[test]
fn another_server_is_not_taken_for_ours() {
    for (answer, said) in [
        (http(404, "text/html", "<h1>no</h1>"), "it answers with 404 and \"text/html\""),
        (http(200, "application/json", "[1]"), "it answers with 200 and \"application/json\""),
        (http(200, "application/json", r#"{"error": 1"#), "it answers with 200 and \"application/json\""),
        ("SSH-2.0-x\r\n".into(), "what it answers is not HTTP/1.1 (invalid HTTP version)"),
        (String::new(), "it hangs up without an answer"),
    ] {
        let server = FakeServer::answering(&answer);
        let error = server.client().get("/x").unwrap_err().to_string();
        assert!(error.starts_with("no admin endpoint of outflow answers on unix:"), "{error}");
        assert!(error.ends_with(said), "{error}");
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(&listener);
    let client = client(address.clone()).with_patience(Duration::from_millis(100));
    let started = Instant::now();
    let error = client.get("/x").unwrap_err();
    assert!(matches!(error, ClientError::TimedOut(_)), "{error:?}");
    assert_eq!(error.to_string(), format!("{address} does not answer in time"));
    assert!((Duration::from_millis(90)..Duration::from_secs(5)).contains(&started.elapsed()));
}

/// Each byte begins no new wait: the limit is on the whole.
#[test]
fn a_server_that_drips_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(tcp(&listener)).with_patience(Duration::from_millis(200));
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        read_request(&mut connection);
        let head = http(200, "application/json", &" ".repeat(1000));
        head.bytes()
            .take_while(|byte| {
                thread::sleep(Duration::from_millis(20));
                connection.write_all(&[*byte]).is_ok()
            })
            .count()
    });
    assert!(matches!(client.get("/x").unwrap_err(), ClientError::TimedOut(_)));
    let sent = server.join().unwrap();
    assert!(sent < 100, "{sent} bytes were waited for");
}

#[test]
fn an_answer_before_the_end_of_the_request_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(tcp(&listener));
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(http(413, "application/json", r#"{"error": "too long"}"#).as_bytes()).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        // What is left unread would have the kernel reset the connection.
        read_request(&mut connection);
    });
    let error = client.post("/x", &json!({"a": "b".repeat(100_000)})).unwrap_err();
    assert_eq!(error.to_string(), "too long");
    server.join().unwrap();
}

#[test]
fn a_token_is_the_one_line_of_its_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("token");
    for (text, token) in [("abc\n", Some("abc")), ("abc", Some("abc")), ("abc\r\n", Some("abc"))]
        .into_iter()
        .chain([("", None), ("\n", None), ("a b\n", None), ("a\nb\n", None), ("a\u{7f}", None)])
    {
        std::fs::write(&path, text).unwrap();
        match (read_token(&path), token) {
            (Ok(read), Some(token)) => assert_eq!(*read, token),
            (Err(said), None) => {
                assert_eq!(said, format!("--token-file: {}: expected one line, the token", path.display()));
            }
            (result, _) => panic!("{text:?}: {:?}", result.map(|_| "a token")),
        }
    }
    let missing = read_token(Path::new("/nowhere/token")).unwrap_err();
    assert!(missing.starts_with("--token-file: /nowhere/token: No such file"), "{missing}");
}

#[test]
fn a_socket_of_others_is_said_to_be_theirs() {
    let error = ClientError::of_io("unix:/a".into(), io::Error::from(ErrorKind::PermissionDenied));
    let said = error.to_string();
    assert!(
        said.starts_with("unix:/a: ") && said.ends_with("for the user that outflow runs as, and for root")
    );
}

//! Who may ask the admin endpoint for what, and by which way in: other users, pages of other sites, clients of the relay;
//! and the file of its socket.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use crate::support::http::Http;
use crate::support::relay::{Builder, run_to_exit};
use crate::support::skip::skip;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay, netns};

const TOKEN: &str = "correct-horse-battery-staple";

/// Asks over TCP with a literal Host, and gives the status; what is no path is told from what one may not have.
fn status(address: SocketAddr, path: &str, fields: &str) -> u16 {
    let mut http = Http::connect(address);
    http.send(format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes());
    http.answer().status
}

/// What another user of this machine is answered; `None` where that user cannot be had.
fn as_another_user(test: &str, script: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script])
        .args(arguments);
    let output = run_to_exit(command);
    if String::from_utf8_lossy(&output.stderr).contains("setpriv") {
        skip(test, "another user's name needs root");
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Over loopback the kernel says whose a connection is.
#[test]
fn another_user_of_this_machine_may_not_operate() {
    let relay = Relay::builder().set("admin", "listen", "[\"127.0.0.1:0\", \"[::1]:0\"]").start();
    let script = "import http.client, sys\n\
                  for host in sys.argv[2:]:\n    \
                      c = http.client.HTTPConnection(host, int(sys.argv[1]), timeout=10)\n    \
                      for path in ('/', '/healthz', '/api/v1/stats', '/api/v1/nothing'):\n        \
                          c.request('GET', path); r = c.getresponse(); r.read(); print(r.status, end=' ')\n    \
                      c.request('POST', '/api/v1/drain'); r = c.getresponse(); print(r.status, r.read().decode())\n";
    let port = relay.admin_addr().port().to_string();
    let Some(said) = as_another_user(&test_name!(), script, &[&port, "127.0.0.1"]) else { return };
    assert!(said.starts_with("200 200 403 403 403 "), "{said}");
    assert!(said.contains("for the server's own user and for root"), "{said}");
    assert_eq!(relay.get("/api/v1/nothing").status, 404, "we are the server's own user");
    relay.logged(&["refused at the admin endpoint", "who=uid 65534", "403"]);
}

#[test]
fn another_user_cannot_connect_to_the_socket() {
    let builder = Relay::builder().admin_socket();
    let path = builder.socket_path();
    // Whoever may search the folder is still kept out by the socket's own mode.
    fs::set_permissions(builder.directory(), PermissionsExt::from_mode(0o755)).expect("open the folder");
    let _relay = builder.start();
    let script = "import socket, sys\n\
                  try:\n    socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('in')\n\
                  except PermissionError: print('out')\n";
    let Some(said) = as_another_user(&test_name!(), script, &[path.to_str().expect("UTF-8")]) else { return };
    assert_eq!(said, "out\n");
}

fn with_token(builder: Builder, listen: &str) -> Builder {
    let path = builder.directory().join("token");
    fs::write(&path, format!("{TOKEN}\n")).expect("write the token");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("close the token");
    builder.set("admin", "listen", listen).set("admin", "token_file", "\"token\"")
}

#[test]
fn with_a_token_it_is_asked_for_over_tcp_alone() {
    let builder = Relay::builder();
    let path = builder.socket_path();
    let listen = format!("[\"unix:{}\", \"127.0.0.1:0\"]", path.display());
    let relay = with_token(builder, &listen).start();
    let address = relay.admin_addr();
    let host = "Host: relay.example:9180\r\n";
    let bearer = |token: &str| format!("{host}Authorization: Bearer {token}\r\n");
    assert_eq!((status(address, "/", host), status(address, "/healthz", host)), (200, 200));
    assert_eq!(status(address, "/api/v1/nothing", host), 401);
    for wrong in ["wrong-horse-battery-staple", "correct", "", "correct-horse-battery-staple2"] {
        assert_eq!(status(address, "/api/v1/nothing", &bearer(wrong)), 401, "{wrong}");
    }
    assert_eq!(status(address, "/api/v1/nothing", &bearer(TOKEN)), 404);
    let asked = Http::connect(address).get("/api/v1/nothing");
    assert_eq!(asked.field("www-authenticate"), Some("Bearer realm=\"outflow\""));
    assert_eq!(Http::unix(&path).get("/api/v1/nothing").status, 404);
    assert!(!relay.log().contains(TOKEN) && !relay.log().contains("wrong-horse"), "{}", relay.log());
}

#[test]
fn beyond_this_machine_it_is_said() {
    let relay = with_token(Relay::builder(), "\"0.0.0.0:0\"").start();
    relay.logged(&["reached from beyond this machine", "without TLS"]);
    let mut address = relay.admin_addr();
    address.set_ip([127, 0, 0, 1].into());
    assert_eq!(status(address, "/api/v1/nothing", "Host: localhost\r\n"), 401);
}

/// What a page of another site can have a browser send.
#[test]
fn a_page_of_another_site_gets_nothing() {
    let relay = Relay::builder().admin().start();
    let address = relay.admin_addr();
    let ask = |fields: &str| status(address, "/api/v1/nothing", fields);
    assert_eq!(ask(&format!("Host: {address}\r\nOrigin: http://{address}\r\n")), 404);
    assert_eq!(ask("Host: evil.example\r\n"), 421, "DNS rebinding");
    assert_eq!(
        ask(&format!(
            "Host: evil.example:{}\r\nOrigin: http://evil.example:{}\r\n",
            address.port(),
            address.port()
        )),
        421
    );
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"] {
        assert_eq!(ask(&format!("Host: {address}\r\nOrigin: {origin}\r\n")), 403, "{origin}");
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!(ask(&format!("Host: {address}\r\nSec-Fetch-Site: {site}\r\n")), 403, "{site}");
    }
    let mut form = Http::connect(address);
    form.send(
        format!(
            "POST /api/v1/nothing HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
        )
        .as_bytes(),
    );
    assert_eq!(form.answer().status, 415);
}

/// HAZARD 17: the relay would ask as the server's own user.
#[test]
fn no_client_of_the_relay_reaches_it() {
    netns::run(&test_name!(), "ip addr add 10.9.9.9/32 dev lo", || {
        let relay =
            with_token(Relay::builder(), "[\"127.0.0.1:9180\", \"[::1]:9181\", \"0.0.0.0:9182\"]").start();
        for target in [
            "127.0.0.1:9180",
            "[::ffff:127.0.0.1]:9180",
            "0.0.0.0:9180",
            "[::1]:9181",
            "[::]:9181",
            "127.8.8.8:9182",
            "10.9.9.9:9182",
            "[::ffff:10.9.9.9]:9182",
        ] {
            let target = target.parse().expect("an address");
            assert_eq!(Client::greeted(relay.addr()).request_ip(target).rep, 2, "{target}");
        }
        let origin = Origin::echo();
        Client::through(relay.addr(), origin.addr).finish();
    });
}

/// Nor at the moment when it opens or closes.
#[test]
fn no_client_of_the_relay_reaches_it_while_a_reload_opens_or_closes_it() {
    let builder = Relay::builder().admin_socket();
    let (socket, file) = (builder.socket_path(), builder.directory().join("outflow.toml"));
    let relay = builder.start();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let closed = fs::read_to_string(&file).expect("the configuration");
    let unix = format!("\"unix:{}\"", socket.display());
    let open = closed.replace(&unix, &format!("[{unix}, \"{free}\"]"));
    assert_ne!(open, closed);
    let (address, over) = (relay.addr(), AtomicBool::new(false));
    let reached = || {
        let mut reached = 0;
        while !over.load(Relaxed) {
            reached += usize::from(Client::greeted(address).request_ip(free).rep == 0);
        }
        reached
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(reached)).collect();
        for _ in 0..30 {
            for text in [&open, &closed] {
                fs::write(&file, text).expect("write the configuration");
                // The port may be in use for a moment after it was closed.
                wait::until_true("a reload", PATIENCE, || {
                    Http::unix(&socket).ask("POST", "/api/v1/reload", None).status == 200
                });
                assert!(text == &closed || TcpStream::connect(free).is_ok(), "it is open once that is said");
            }
        }
        over.store(true, Relaxed);
        let reached: usize = clients.into_iter().map(|client| client.join().expect("a client")).sum();
        assert_eq!(reached, 0, "clients that reached the endpoint as the server's own user");
    });
}

#[test]
fn its_socket_goes_at_the_end_and_what_a_crash_left_is_replaced() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("admin.sock");
    let listen = format!("\"unix:{}\"", path.display());
    let builder = || Relay::builder().set("admin", "listen", &listen);
    let mut first = builder().start();
    let live = builder().run_to_exit();
    refused(&live, &["[admin] key `listen`", "another server listens there"]);
    assert_eq!(Http::unix(&path).get("/healthz").status, 200, "the first one is left alone");
    first.signal("KILL");
    first.wait_exit(PATIENCE);
    assert!(path.exists(), "nobody could remove it");
    let mut second = builder().start();
    assert_eq!(Http::unix(&path).get("/healthz").status, 200);
    second.signal("TERM");
    assert_eq!(second.wait_exit(PATIENCE), Some(0));
    assert!(!path.exists());
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
}

/// `run` and `check` alike; what may be a running server's is a warning of `check`.
#[test]
fn what_cannot_be_had_is_named_at_its_key() {
    let file = |builder: &Builder, name: &str, text: &str| {
        fs::write(builder.directory().join(name), text).expect("write")
    };
    let socket = |path: &Path| format!("\"unix:{}\"", path.display());
    let with = |listen: &str| Relay::builder().set("admin", "listen", listen);
    let both = |make: &dyn Fn() -> Builder, words: &[&str]| {
        refused(&make().run_to_exit(), words);
        refused(&make().check(), words);
    };
    both(
        &|| with("\"unix:/nowhere/at/all/admin.sock\""),
        &["outflow.toml:", "[admin] key `listen`", "RuntimeDirectory="],
    );
    both(
        &|| {
            let builder = Relay::builder();
            file(&builder, "kept", "kept");
            let listen = socket(&builder.directory().join("kept"));
            builder.set("admin", "listen", &listen)
        },
        &["[admin] key `listen`", "it is no socket"],
    );
    both(
        &|| with("\"192.0.2.1:9180\"").set("admin", "token_file", "\"none\""),
        &["[admin] key `token_file`", "cannot be read"],
    );
    both(&|| with("\"0.0.0.0:0\""), &["[admin] key `listen`", "beyond this machine", "token_file"]);
    both(
        &|| {
            let builder = with("\"127.0.0.1:0\"").set("admin", "token_file", "\"short\"");
            file(&builder, "short", "secret");
            builder
        },
        &["[admin] key `token_file`", "shorter than 16"],
    );
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("live.sock");
    let _listener = UnixListener::bind(&path).expect("listen");
    let checked = with(&socket(&path)).check();
    assert_eq!(checked.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("warning: "), "{checked:?}");
    let open = with_token(Relay::builder(), "\"127.0.0.1:0\"");
    fs::set_permissions(open.directory().join("token"), PermissionsExt::from_mode(0o644))
        .expect("open the token");
    let said = open.check();
    assert!(String::from_utf8_lossy(&said.stderr).contains("others may read or write it"), "{said:?}");
}

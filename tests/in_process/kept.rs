//! Connections of HTTP clients between two requests, and a worker that panics meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use outflow::config::{Access, Config, Protocol, RelayMode};
use outflow::outcome::Reason;
use outflow::worker::Drill;

use super::{await_that, config, dial, internal_records, start, stop};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers whatever comes, over every connection.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) && stream.write_all(OK).is_ok() {}
            });
        }
    });
    address
}

fn speaking_http() -> Config {
    let mut config = config(1, RelayMode::Auto);
    config.listeners = vec![outflow::config::ListenerConfig {
        address: outflow::config::Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 0))).into(),
        protocols: vec![Protocol::Http],
        ..Default::default()
    }];
    config.server.listen = Vec::new();
    config
}

/// Which is in no count goes without one, and without a record.
#[test]
fn a_panic_ends_what_is_kept_without_a_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = folder.path().join("access.log");
    let mut config = speaking_http();
    config.log.access = Access::Path(access.clone());
    let server = start(config);
    let target = answering();
    let mut client = dial(&server);
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
    client.write_all(request.as_bytes()).expect("a request");
    let mut head = [0; 256];
    assert!(client.read(&mut head).is_ok_and(|count| head[..count].ends_with(b"ok")));
    await_that("the request is over", || server.totals().closed_for(Reason::Completed) == 1);
    server.drill(0, Drill::Panic);
    assert!(client.read(&mut head).is_ok_and(|count| count == 0) || client.write_all(b"x").is_err());
    let mut other = dial(&server);
    other.write_all(request.as_bytes()).expect("a request");
    assert!(other.read(&mut head).is_ok_and(|count| head[..count].ends_with(b"ok")));
    await_that("the second request is over", || server.totals().closed_for(Reason::Completed) == 2);
    let totals = server.totals();
    assert_eq!((totals.active(), totals.closed()), (0, 2));
    assert!(internal_records(&access).is_empty());
    stop(server);
}

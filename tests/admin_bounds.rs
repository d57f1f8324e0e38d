//! Clients of the admin endpoint that are slow, greedy or hostile: each has its bound, and the next one is answered.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::support::Relay;
use crate::support::http::Http;
use crate::support::wait::{self, PATIENCE, timed};

/// Of half of what there is for all, one holder has no more; unix sockets have their own.
#[test]
fn one_holder_does_not_take_all_connections() {
    let builder = Relay::builder();
    let path = builder.socket_path();
    let listen = format!("[\"unix:{}\", \"127.0.0.1:0\"]", path.display());
    let relay = builder.set("admin", "listen", &listen).start();
    let address = relay.admin_addr();
    let mut held: Vec<Http> = (0..32).map(|_| Http::connect(address)).collect();
    assert!(held.iter_mut().all(|http| http.get("/healthz").status == 200));
    let mut turned_away = Http::connect(address);
    turned_away.try_send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = turned_away.answer();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    turned_away.expect_end();
    assert_eq!(Http::unix(&path).get("/healthz").status, 200, "an operator gets in");
    assert!(held.iter_mut().all(|http| http.get("/healthz").status == 200), "who is in stays in");
    held.pop();
    wait::until_true("room for one more", PATIENCE, || {
        let mut http = Http::connect(address);
        http.try_send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        http.answer().status == 200
    });
}

#[test]
fn one_holder_does_not_ask_for_all() {
    let builder = Relay::builder();
    let path = builder.socket_path();
    let listen = format!("[\"unix:{}\", \"127.0.0.1:0\"]", path.display());
    let relay = builder.set("admin", "listen", &listen).start();
    let mut http = relay.admin();
    let refused = wait::until("too many requests", PATIENCE, || {
        Some(http.get("/healthz")).filter(|answer| answer.status != 200)
    });
    assert_eq!((refused.status, refused.field("retry-after")), (429, Some("1")));
    assert_eq!(Http::unix(&path).get("/healthz").status, 200, "an operator is answered");
    wait::until_true("an answer again", PATIENCE, || http.get("/healthz").status == 200);
}

/// A refused request has a line, and no more than one a second have.
#[test]
fn refusals_do_not_fill_the_log() {
    let relay = Relay::builder().admin().start();
    let (_, took) = timed(|| {
        for _ in 0..60 {
            let mut http = relay.admin();
            http.try_send(b"nonsense\r\n\r\n");
            assert!([400, 429].contains(&http.answer().status));
        }
    });
    relay.logged(&["refused at the admin endpoint"]);
    let lines = relay.log().matches("refused at the admin endpoint").count();
    assert!(lines <= 2 + took.as_secs() as usize, "{lines} lines in {took:?}");
    let counted = relay.logged(&["refused at the admin endpoint", "others="]);
    assert!(!counted.contains("nonsense"), "{counted}");
}

/// Who is slow is told so, who says nothing is not; meanwhile others are answered.
#[test]
fn slow_requests_are_ended() {
    let relay = Relay::builder().admin().start();
    let address = relay.admin_addr();
    let mut trickling = Http::connect(address);
    let mut silent = Http::connect(address);
    let mut behind = Http::connect(address);
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    behind.send(request);
    assert_eq!(behind.answer().status, 200);
    behind.send(&request[..10]);
    trickling.send(&request[..20]);
    let ((), took) = timed(|| {
        let answer = trickling.answer();
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
        trickling.expect_end();
        assert_eq!(behind.answer().status, 408);
        silent.expect_end();
    });
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!(relay.get("/healthz").status, 200);
}

/// What a client does not take is held for a while, and costs nobody else anything.
#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let relay = Relay::builder().admin().start();
    let mut deaf: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(relay.admin_addr()).expect("connect")).collect();
    let many = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10);
    for stream in &mut deaf {
        stream.write_all(many.as_bytes()).expect("send");
    }
    let (answer, took) = timed(|| relay.admin().get("/nothing").status);
    assert!([404, 429].contains(&answer) && took < Duration::from_secs(2), "{answer} {took:?}");
}

/// Descriptors that have run out keep nobody out who is in, and nobody for longer than they are wanting.
#[test]
fn it_answers_where_descriptors_have_run_out() {
    let relay = Relay::builder().admin().start();
    let mut inside = relay.admin();
    assert_eq!(inside.get("/healthz").status, 200);
    relay.set_nofile(&format!("{}:1024", relay.fds()));
    let mut outside = relay.admin();
    outside.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    relay.logged(&["refused at the admin endpoint", "cannot accept"]);
    assert_eq!(inside.get("/healthz").status, 200);
    relay.set_nofile("1024:1024");
    assert_eq!(outside.answer().status, 200);
}

/// Without an endpoint there is nothing of it. A thread names itself once it runs, which an answer of it shows; the others
/// are awaited, each of which has another name than the process by then.
#[test]
fn without_it_there_is_no_thread() {
    let names = |relay: &Relay| -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("list the threads");
        let names = tasks.map(|task| std::fs::read_to_string(task.expect("a thread").path().join("comm")));
        names.filter_map(Result::ok).map(|name| name.trim_end().to_owned()).collect()
    };
    let named = |names: &[String], name: &str| names.iter().filter(|one| *one == name).count();
    let with = Relay::builder().admin().start();
    assert_eq!(with.get("/healthz").status, 200);
    assert_eq!(named(&names(&with), "admin"), 1);
    let without = Relay::builder().start();
    wait::until_true("threads with names", PATIENCE, || named(&names(&without), "outflow") == 1);
    assert_eq!(named(&names(&without), "admin"), 0);
}

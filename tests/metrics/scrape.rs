//! The endpoint's `/metrics`: scraped by hand, by promtool and by a Prometheus of its own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::promtool;
use crate::support::client::{connect_ip, request};
use crate::support::http::{Http, HttpReply};
use crate::support::process::collect;
use crate::support::{Client, Origin, Relay, skip, wait};

/// The value of one series of a scrape.
fn value(scrape: &str, series: &str) -> f64 {
    let line = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{scrape}")).parse().expect("a number")
}

/// Sessions of each kind: relayed, refused by the target, denied, not understood, datagrams, a listener.
fn traffic(relay: &Relay) {
    let target = Origin::echo();
    let mut client = Client::through(relay.addr(), target.addr);
    client.send(b"ping");
    client.expect(b"ping");
    drop(client);
    for (request, reply) in [
        (connect_ip(SocketAddr::from(([127, 0, 0, 1], 1))), 5),
        (connect_ip(relay.addr()), 2),
        (request(9, relay.addr()), 7),
        (request(3, SocketAddr::from(([0, 0, 0, 0], 0))), 0),
        (request(2, SocketAddr::from(([0, 0, 0, 0], 0))), 0),
    ] {
        let mut client = Client::greeted(relay.addr());
        client.send(&request);
        assert_eq!(client.reply().rep, reply, "{request:?}");
    }
    relay.records(6);
}

#[test]
fn a_scrape_tells_of_all_that_happened() {
    let relay = Relay::builder().workers(2).admin().start();
    traffic(&relay);
    let answer = relay.get("/metrics");
    assert_eq!(
        (answer.status, answer.field("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    for (series, expected) in [
        (r#"outflow_requests_total{command="connect",reply="succeeded"}"#, 1.0),
        (r#"outflow_requests_total{command="connect",reply="connection_refused"}"#, 1.0),
        (r#"outflow_requests_total{command="connect",reply="not_allowed"}"#, 1.0),
        (r#"outflow_requests_total{command="unknown",reply="command_not_supported"}"#, 1.0),
        (r#"outflow_requests_total{command="udp_associate",reply="succeeded"}"#, 1.0),
        (r#"outflow_requests_total{command="bind",reply="succeeded"}"#, 1.0),
        (r#"outflow_denied_total{cause="own_listener"}"#, 1.0),
        (r#"outflow_relayed_bytes_total{direction="down",engine="copy"}"#, 4.0),
        ("outflow_connections_accepted_total", 6.0),
        ("outflow_connections_active", 0.0),
        ("outflow_workers", 2.0),
        ("outflow_session_seconds_count", 6.0),
        ("outflow_first_byte_seconds_count", 1.0),
        (r#"outflow_first_byte_seconds_bucket{le="+Inf"}"#, 1.0),
        (r#"outflow_queue_max{queue="log"}"#, 4_194_304.0),
        ("outflow_log_lines_lost_total", 0.0),
    ] {
        assert_eq!(value(&answer.body, series), expected, "{series}");
    }
    let by_worker = |number: usize| {
        value(&answer.body, &format!("outflow_worker_connections_accepted_total{{worker=\"{number}\"}}"))
    };
    assert_eq!(by_worker(0) + by_worker(1), 6.0);
    assert!(value(&answer.body, "outflow_turn_seconds_sum") > 0.0);
    assert!(value(&answer.body, "process_open_fds") > 5.0);
    if !skip::without("promtool check metrics of a scrape", "promtool", "prometheus") {
        assert_eq!(promtool(&["check", "metrics"], &std::env::temp_dir(), answer.body.as_bytes()), Ok(()));
    }
}

/// Who scrapes twice a second and more often gets every answer, and each is a little later than the one before.
#[test]
fn scrapes_one_after_the_other_are_all_answered() {
    let relay = Relay::builder().admin().start();
    let mut http = relay.admin();
    let turns: Vec<f64> =
        (0..20).map(|_| value(&http.get("/metrics").body, "outflow_turn_seconds_count")).collect();
    assert!(turns.is_sorted() && turns[0] < turns[19], "{turns:?}");
}

/// A Prometheus that ends with the test.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes this address each second.
    fn of(target: SocketAddr) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: outflow\n    static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
        let mut command = Command::new("prometheus");
        command
            .args([
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--web.listen-address=127.0.0.1:0",
            ])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start Prometheus");
        let said = collect(child.stderr.take().expect("stderr"));
        let address = wait::until("where Prometheus listens", 3 * wait::PATIENCE, || {
            let said = said.lock().expect("lines");
            let (_, rest) = said.split_once("msg=\"Listening on\" address=")?;
            rest.split_once(char::is_whitespace)?.0.parse().ok()
        });
        Prometheus { child, address, _folder: folder }
    }

    /// The one value of a query, once there is one.
    fn value(&self, query: &str) -> Option<f64> {
        let HttpReply { status, body, .. } =
            Http::connect(self.address).get(&format!("/api/v1/query?query={query}"));
        let answer: serde_json::Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let results = answer["data"]["result"].as_array()?;
        assert!(results.len() <= 1, "{body}");
        results.first()?["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_prometheus_scrapes_it_and_knows_what_happened() {
    if skip::without("a_prometheus_scrapes_it", "prometheus", "prometheus") {
        return;
    }
    let relay = Relay::builder().admin().start();
    traffic(&relay);
    let prometheus = Prometheus::of(relay.admin_addr());
    let began = Instant::now();
    let patience = 3 * wait::PATIENCE;
    wait::until_true("Prometheus has scraped", patience, || prometheus.value("up") == Some(1.0));
    for (query, expected) in [
        ("outflow_connections_accepted_total", 6.0),
        ("sum(outflow_requests_total)", 6.0),
        ("outflow_session_seconds_count", 6.0),
        ("count(outflow_build_info)", 1.0),
        ("count(outflow_handshake_seconds_bucket)", 18.0),
    ] {
        // What a worker has timed is told a scrape later where it did not answer in time.
        wait::until_true(query, patience, || prometheus.value(query) == Some(expected));
    }
    assert!(prometheus.value("process_start_time_seconds").is_some_and(|start| start > 1e9));
    println!("Prometheus had it after {:?}", began.elapsed().min(Duration::from_secs(99)));
}

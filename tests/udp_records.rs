//! `log.udp_targets`: where the datagrams of an association went, a record for each target.

use serde_json::Value;

use crate::support::origin::V4;
use crate::support::udp::{Association, Echo, Sides, Stand, Target, fragment, serving};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Relay};

fn builder() -> crate::support::relay::Builder {
    Relay::builder().set("log", "udp_targets", "true")
}

/// The association's own record, and those of its targets in the order of their addresses' text.
fn records(relay: &Relay, targets: usize) -> (Value, Vec<Value>) {
    let mut records = relay.records(1 + targets);
    let own = records.remove(0);
    assert_eq!((&own["command"], &own["record"]), (&"udp_associate".into(), &Value::Null), "{own}");
    for record in &records {
        assert_eq!(record["record"], "udp_target", "{record}");
        for field in ["id", "time", "worker", "client", "user", "command"] {
            assert_eq!(record[field], own[field], "{field} of {record}");
        }
    }
    records.sort_by_key(|record| record["address"].to_string());
    (own, records)
}

fn moved(record: &Value) -> [u64; 4] {
    ["datagrams_up", "bytes_up", "datagrams_down", "bytes_down"]
        .map(|field| record[field].as_u64().expect("a count"))
}

fn every_target_of_datagrams_is_recorded(sides: Sides) {
    let relay = serving(builder(), sides.client);
    let client = Association::open(relay.addr());
    let (echo, sink) = (Echo::on(sides.target), Target::on(sides.target));
    for payload in [&b"one"[..], b"two", b"three"] {
        client.send(echo.addr, payload);
        client.expect(echo.addr, payload);
    }
    client.send(sink.addr, b"to nobody who answers");
    sink.expect(b"to nobody who answers");
    // As fragments, which leave another way.
    client.send_raw(&fragment(1, sink.addr, b"in "));
    client.send_raw(&fragment(0x82, sink.addr, b"two"));
    sink.expect(b"in two");
    drop(client);
    let (own, targets) = records(&relay, 2);
    let of = |addr: std::net::SocketAddr| {
        targets.iter().find(|record| record["address"] == addr.to_string()).expect("its record")
    };
    assert_eq!(moved(of(echo.addr)), [3, 11, 3, 11]);
    assert_eq!(moved(of(sink.addr)), [2, 27, 0, 0]);
    assert_eq!(moved(&own), [5, 38, 3, 11], "the sum over both");
    assert!(targets.iter().all(|record| record["target"] == record["address"]), "{targets:?}");
    assert!(targets.iter().all(|record| record["rule"] == "default"), "{targets:?}");
}
sides!(every_target_of_datagrams_is_recorded);

/// What was asked for by name has its name, once it was known and while it was asked for.
#[test]
fn the_name_of_a_target_is_recorded() {
    let server = DnsServer::zone(&[("echo.example", &["127.0.0.1"])]);
    let relay = builder().dns(&server).start();
    let (client, echo) = (Association::open(relay.addr()), Echo::on(V4));
    for payload in [&b"first"[..], b"second"] {
        client.send_name(b"Echo.Example", echo.addr.port(), payload);
        client.expect(echo.addr, payload);
    }
    drop(client);
    let (_, targets) = records(&relay, 1);
    let (target, address) = (format!("echo.example:{}", echo.addr.port()), echo.addr.to_string());
    assert_eq!((&targets[0]["target"], &targets[0]["address"]), (&target.into(), &address.into()));
    assert_eq!(moved(&targets[0]), [2, 11, 2, 11]);
}

/// Each target has the rule that let its datagrams pass, be it another than that of the association as such.
#[test]
fn the_rule_of_a_target_is_recorded() {
    let (echo, other) = (Echo::on(V4), Echo::on(V4));
    let one = format!("name = \"one\"\nports = [{}]\naction = \"allow\"", echo.addr.port());
    let strict = "name = \"strict\"\nto = [\"127.0.0.0/8\"]\naction = \"deny\"\nmode = \"report\"";
    let relay = builder().rules(&[strict, &one, "name = \"all\"\naction = \"allow\""]).start();
    let client = Association::open(relay.addr());
    for target in [&echo, &other, &echo] {
        client.send(target.addr, b"ping");
        client.expect(target.addr, b"ping");
    }
    drop(client);
    let (_, targets) = records(&relay, 2);
    for (target, rule) in [(&echo, "one"), (&other, "all")] {
        let record = targets.iter().find(|record| record["address"] == target.addr.to_string());
        let record = record.expect("its record");
        let decided = ["rule", "verdict", "would_deny"].map(|field| record[field].as_str());
        assert_eq!(decided, [Some(rule), Some("allow"), Some("strict")], "{record}");
    }
}

/// A scanner leaves so many records and one more, in which the rest is counted.
#[test]
fn a_scanner_leaves_a_bounded_number_of_records() {
    const TARGETS: usize = 256;
    let stand = Stand::over(builder(), Sides::V4_TO_V4);
    for n in 0..300_u32 {
        let [.., high, low] = n.to_be_bytes();
        stand.client.send(std::net::SocketAddr::from(([127, 4, high, low], 9)), b"scan");
        if n % 50 == 49 {
            // No more than the socket's queue holds.
            stand.client.send(stand.target.addr, b"fence");
            stand.target.expect(b"fence");
        }
    }
    let Stand { relay, client, .. } = stand;
    drop(client);
    let (own, targets) = records(&relay, TARGETS + 1);
    let sum = targets.iter().map(moved).fold([0; 4], |sum, one| std::array::from_fn(|at| sum[at] + one[at]));
    assert_eq!(sum, moved(&own));
    let rest: Vec<_> = targets.iter().filter(|record| record["address"].is_null()).collect();
    assert_eq!(rest.len(), 1);
    assert!(rest[0]["target"].is_null() && moved(rest[0])[0] >= 300 - TARGETS as u64, "{:?}", rest[0]);
}

/// Off, an association leaves the one record that it always left.
#[test]
fn targets_are_recorded_only_where_asked_for() {
    let relay = Relay::start();
    let (client, echo) = (Association::open(relay.addr()), Echo::on(V4));
    client.send(echo.addr, b"ping");
    client.expect(echo.addr, b"ping");
    drop(client);
    assert_eq!(moved(&relay.record()), [1, 4, 1, 4]);
    // A session behind it is the next to be recorded.
    drop(Client::greeted(relay.addr()));
    wait::until_true("its record", PATIENCE, || relay.records_now().len() == 2);
    assert!(relay.records_now().iter().all(|record| record["record"].is_null()));
}

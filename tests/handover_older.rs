//! Servers that come to their end behind hand-overs are shown by the one that serves.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::http::Http;
use crate::support::relay::{Builder, binary, quoted};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

fn builder(folder: &TempDir) -> Builder {
    let file = |name: &str| quoted(folder.path().join(name).to_str().expect("UTF-8"));
    Relay::builder().set("server", "takeover", &file("takeover")).admin()
}

fn next(folder: &TempDir, before: &Relay) -> Builder {
    builder(folder).listen(&[&before.addr().to_string()]).argument("--takeover")
}

/// Once the endpoint answers: who asks as often as a test does is told to wait.
fn older(relay: &Relay) -> Vec<Value> {
    wait::until("an answer", PATIENCE, || {
        let mut http = Http::connect(relay.admin_addr());
        let stats = http.ask_with("GET", "/api/v1/stats", "Connection: close\r\n", None);
        let told: Value = if stats.status == 200 { stats.json() } else { Value::Null };
        told["older"].as_array().cloned()
    })
}

/// Waits until these processes are shown, the latest first, with so many sessions.
fn awaits(relay: &Relay, wanted: &[(&Relay, u64)]) -> Vec<Value> {
    let wanted: Vec<(u64, u64)> =
        wanted.iter().map(|(relay, sessions)| (u64::from(relay.pid()), *sessions)).collect();
    wait::until(&format!("{wanted:?}"), PATIENCE, || {
        let shown = older(relay);
        let of = |one: &Value| Some((one["pid"].as_u64()?, one["sessions"].as_u64()?));
        (shown.iter().map(of).collect::<Option<Vec<_>>>()? == wanted).then_some(shown)
    })
}

#[test]
fn older_servers_are_shown_until_they_end() {
    let (folder, origin) = (TempDir::new().expect("a folder"), Origin::echo());
    let mut first = builder(&folder).start();
    assert!(older(&first).is_empty());
    let sessions = [Client::through(first.addr(), origin.addr), Client::through(first.addr(), origin.addr)];
    let mut second = next(&folder, &first).timeout("handover", 600_000).start();
    let shown = awaits(&second, &[(&first, 2)]);
    assert!(shown[0]["version"] == env!("CARGO_PKG_VERSION") && shown[0]["ends_by"].is_null(), "{shown:?}");
    assert!(shown[0]["since"].as_str().is_some_and(|since| since.starts_with("20")), "{shown:?}");
    let later = Client::through(second.addr(), origin.addr);
    let third = next(&folder, &second).start();
    let shown = awaits(&third, &[(&second, 1), (&first, 2)]);
    assert!(shown[0]["ends_by"].is_string() && shown[1]["ends_by"].is_null(), "{shown:?}");
    let output = std::process::Command::new(binary())
        .args(["stats", "--admin", &third.admin_addr().to_string()])
        .output()
        .expect("run it");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    for relay in [&first, &second] {
        assert!(page.contains(&format!("older server   process {}, outflow", relay.pid())), "{page}");
    }
    drop(later);
    awaits(&third, &[(&second, 0), (&first, 2)]);
    // A signal has it end within its time.
    first.signal("TERM");
    wait::until_true("an end", PATIENCE, || {
        older(&third).last().is_some_and(|one| one["ends_by"].is_string())
    });
    drop(sessions);
    assert_eq!(first.wait_exit(PATIENCE), Some(0));
    assert_eq!(second.wait_exit(PATIENCE), Some(0));
    awaits(&third, &[]);
}

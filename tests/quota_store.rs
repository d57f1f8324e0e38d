//! What was used of quotas outlives the server: its end, a crash, a full disk, a file that is damaged.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::http::HttpReply;
use crate::support::relay::{Builder, binary, quoted, run_to_exit};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay, skip};

const USERS: &[(&str, &[u8])] = &[("ann", b"a"), ("bob", b"b")];
const STORE: &str = "quotas.db";
/// What may be forgotten where a server is killed.
const FORGOTTEN_AT_MOST: Duration = Duration::from_secs(2);

/// A server whose users have a quota, which is kept here.
fn builder(state: &Path) -> Builder {
    Relay::builder()
        .workers(2)
        .users(USERS)
        .set("server", "state", &quoted(state.to_str().expect("UTF-8")))
        .set("[limit]", "name", "\"plan\"")
        .set("[limit]", "per", "\"user\"")
        .set("[limit]", "quota", "{ bytes = \"100GB\", period = \"month\", zone = \"UTC\" }")
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"plan\"]"])
}

fn user(relay: &Relay, name: &str, origin: &Origin) -> Client {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(name.as_bytes(), &name.as_bytes()[..1]), 0);
    assert_eq!(client.request_ip(origin.addr).rep, 0x00);
    client
}

/// Sends so many bytes to an origin that sends them back.
fn echoed(relay: &Relay, name: &str, origin: &Origin, bytes: usize) {
    let mut client = user(relay, name, origin);
    client.send(&vec![7; bytes]);
    client.recv(bytes);
}

/// What the endpoint says that a user used, up and down.
fn used(api: Api, user: &str) -> (u64, u64) {
    let answer = api.get(&format!("/api/v1/quotas?user={user}"));
    let number = |name: &str| answer["quotas"][0][name].as_u64().unwrap_or_default();
    (number("up"), number("down"))
}

fn await_used(api: Api, user: &str, bytes: u64) {
    let expected = (bytes, bytes);
    wait::until_true(&format!("{user} used {bytes} each way"), PATIENCE, || used(api, user) == expected);
}

/// A path of the endpoint, asked for as often as it lets one.
fn get(relay: &Relay, path: &str) -> HttpReply {
    wait::until("an answer", PATIENCE, || Some(relay.get(path)).filter(|answer| answer.status != 429))
}

fn readiness(relay: &Relay) -> (u16, String) {
    let answer = get(relay, "/readyz");
    (answer.status, answer.body.trim_end().to_owned())
}

/// A metric of the server's own, if it has it.
fn metric(relay: &Relay, name: &str) -> Option<f64> {
    let text = get(relay, "/metrics").body;
    let line = text.lines().find(|line| line.split(' ').next() == Some(&format!("outflow_{name}")))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn end(mut relay: Relay) {
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("list the directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

engines!(nothing_is_forgotten_by_an_end_that_was_asked_for);

/// To the byte, though the last of it was moved a moment before.
fn nothing_is_forgotten_by_an_end_that_was_asked_for(engine: Engine) {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let mut expected = 0;
    for bytes in [1, 100_000, 3_000_017] {
        let (relay, api) = Api::serve(builder(state.path()).engine(engine));
        assert_eq!(used(api, "ann"), (expected, expected));
        echoed(&relay, "ann", &origin, bytes);
        end(relay);
        expected += bytes as u64;
    }
    let (relay, api) = Api::serve(builder(state.path()).engine(engine));
    assert_eq!((used(api, "ann"), used(api, "bob")), ((expected, expected), (0, 0)));
    assert_eq!(metric(&relay, "quota_store_uses"), Some(1.0));
    assert_eq!((readiness(&relay), metric(&relay, "quota_store_up")), ((200, "ready".to_owned()), Some(1.0)));
    // A drain that ends the process is an end that was asked for, too.
    let mut relay = relay;
    echoed(&relay, "bob", &origin, 10);
    assert_eq!(api.ask("POST", "/api/v1/drain", Some(r#"{"exit": true}"#)).status, 200);
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    assert_eq!(names(state.path()), ["lock", STORE], "the journal is in it");
    let mode = fs::metadata(state.path().join(STORE)).expect("the store").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others can read it");
    let (_relay, api) = Api::serve(builder(state.path()).engine(engine));
    assert_eq!((used(api, "ann"), used(api, "bob")), ((expected, expected), (10, 10)));
}

/// One client that sends and receives without an end, and what it had received when.
struct Traffic {
    sent: Arc<AtomicU64>,
    received: Arc<Mutex<Vec<(Instant, u64)>>>,
}

impl Traffic {
    fn begin(relay: &Relay, origin: &Origin) -> Traffic {
        let (sent, received) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (mut client, counts) = (user(relay, "ann", origin), (sent.clone(), received.clone()));
        thread::spawn(move || {
            let (bytes, mut total) = (vec![1; 1000], 0);
            // The server is killed at any point of it.
            while client.try_send(&bytes).is_ok() {
                counts.0.fetch_add(1000, Ordering::SeqCst);
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.recv(1000))).is_err() {
                    return;
                }
                total += 1000;
                counts.1.lock().expect("counts").push((Instant::now(), total));
                thread::sleep(Duration::from_millis(1));
            }
        });
        Traffic { sent, received }
    }

    fn received_by(&self, moment: Instant) -> u64 {
        let received = self.received.lock().expect("counts");
        received.iter().rev().find(|(at, _)| *at <= moment).map_or(0, |(_, total)| *total)
    }
}

/// Killed in the midst of traffic and of writes, again and again: no more than two seconds of it are forgotten, and nothing is
/// counted that there was not.
#[test]
fn a_server_that_is_killed_forgets_two_seconds_at_most() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    for (round, seconds) in [(0, 3.0), (1, 0.3), (2, 1.1), (3, 2.7), (4, 1.01), (5, 4.2)] {
        let (mut relay, api) = Api::serve(builder(state.path()));
        let (up, down) = used(api, "ann");
        assert_eq!(metric(&relay, "quota_store_up"), Some(1.0), "round {round}");
        let traffic = Traffic::begin(&relay, &origin);
        wait::until_true("traffic", PATIENCE, || traffic.received_by(Instant::now()) > 0);
        let kill_at = Instant::now() + Duration::from_secs_f64(seconds);
        wait::until_true("the time to come", PATIENCE, || Instant::now() >= kill_at);
        let safe = traffic.received_by(Instant::now() - FORGOTTEN_AT_MOST);
        relay.signal("KILL");
        relay.wait_exit(PATIENCE);
        let sent = traffic.sent.load(Ordering::SeqCst);
        let (relay, api) = Api::serve(builder(state.path()));
        let (up_now, down_now) = used(api, "ann");
        for (was, is) in [(up, up_now), (down, down_now)] {
            let counted = is - was;
            assert!(
                (safe..=sent).contains(&counted),
                "round {round}: {counted} counted, {safe} two seconds before the kill, {sent} sent"
            );
        }
        end(relay);
    }
}

/// The client of a limit that is used up is as used up as before.
#[test]
fn a_quota_that_is_used_up_stays_so() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let small = || {
        let quota = "{ bytes = 2000, period = \"month\", zone = \"UTC\" }";
        builder(state.path()).set("[limit]", "quota", quota)
    };
    let relay = small().start();
    echoed(&relay, "ann", &origin, 1000);
    end(relay);
    let (relay, api) = Api::serve(small());
    let mut refused = Client::connect(relay.addr());
    assert_eq!(refused.login(b"ann", b"a"), 0);
    assert_eq!(refused.request_ip(origin.addr).rep, 0x02);
    let answer = api.get("/api/v1/quotas?reached=true");
    let shown = &answer["quotas"][0];
    assert_eq!((&shown["holder"], &shown["name"]), (&"user:ann".into(), &"plan".into()), "{answer}");
    assert_eq!((&shown["used"], &shown["bytes"], &shown["left"]), (&2000.into(), &2000.into(), &0.into()));
    assert_eq!(
        (&answer["limits"][0]["name"], &answer["limits"][0]["on_reached"]),
        (&"plan".into(), &"refuse".into())
    );
    echoed(&relay, "bob", &origin, 10);
}

/// What an operator sets back is so after a crash, and the log says who did it.
#[test]
fn what_is_reset_stays_so() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let (mut relay, api) = Api::serve(builder(state.path()));
    for (name, bytes) in [("ann", 1000), ("bob", 300)] {
        echoed(&relay, name, &origin, bytes);
        await_used(api, name, bytes as u64);
    }
    let reset = |body: &str| api.ask("POST", "/api/v1/quotas/reset", Some(body));
    let answer = reset(r#"{"limit": "plan", "holder": "user:ann"}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = serde_json::json!({"limit": "plan", "holder": "user:ann", "accounts": 1, "bytes": 2000, "kept": true});
    assert_eq!(answer.json(), expected);
    relay.logged(&["the quota of limit \"plan\" was reset for \"user:ann\"", "by="]);
    for (body, status, words) in [
        (r#"{"limit": "plan", "holder": "user:ann"}"#, 404, "has used nothing"),
        (r#"{"limit": "pln", "holder": "user:ann"}"#, 404, "did you mean \"plan\"?"),
        (r#"{"limit": "plan", "holder": "ann"}"#, 400, "\"user:ann\""),
        (r#"{"limit": "plan"}"#, 400, "\"all\": true"),
        (r#"{"limit": "plan", "holder": "user:bob", "all": true}"#, 400, "exclude"),
        (r#"{"limit": "plan", "hodler": "user:bob"}"#, 400, "hodler"),
    ] {
        let (said, error) = reset(body).error();
        assert!(said == status && error.contains(words), "{body}: {said} {error}");
    }
    relay.signal("KILL");
    relay.wait_exit(PATIENCE);
    let (relay, api) = Api::serve(builder(state.path()));
    assert_eq!((used(api, "ann"), used(api, "bob")), ((0, 0), (300, 300)));
    let answer = api.ask("POST", "/api/v1/quotas/reset", Some(r#"{"limit": "plan", "all": true}"#)).json();
    assert_eq!((&answer["accounts"], &answer["holder"]), (&1.into(), &Value::Null));
    drop(relay);
    let (_relay, api) = Api::serve(builder(state.path()));
    assert_eq!(used(api, "bob"), (0, 0));
}

#[test]
fn the_command_shows_and_resets() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let builder = builder(state.path()).admin_socket();
    let socket = builder.socket_path();
    let relay = builder.start();
    let quota = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("quota").args(arguments).arg("--admin").arg(&socket);
        let output = run_to_exit(command);
        (output.status.code(), said(&output))
    };
    assert_eq!(quota(&["show"]), (Some(0), "0 uses\n".to_owned()));
    for (name, bytes) in [("ann", 1_000_000), ("bob", 10)] {
        echoed(&relay, name, &origin, bytes);
    }
    let both = || {
        let (_, shown) = quota(&["show"]);
        Some(shown).filter(|shown| shown.contains("2 MB") && shown.contains("20 B"))
    };
    let shown = wait::until("both uses", PATIENCE, both);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].starts_with("plan   user:ann") && lines[2].starts_with("plan   user:bob"), "{shown}");
    let (code, json) = quota(&["show", "user:bob", "--name", "plan", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["quotas"][0]["used"]), (Some(0), &20.into()), "{json}");
    let (_, none) = quota(&["show", "--user", "carol"]);
    assert!(none.starts_with("0 shown of 0"), "{none}");
    let (code, reset) = quota(&["reset", "plan", "user:ann"]);
    assert_eq!(
        (code, reset.as_str()),
        (Some(0), "reset: the quota of plan is unused by user:ann, who had used 2 MB\n")
    );
    let (code, refused) = quota(&["reset", "plan", "user:carol"]);
    assert!(code == Some(1) && refused.contains("\"user:carol\" has used nothing"), "{refused}");
    assert_eq!(quota(&["reset", "plan"]).0, Some(2), "whose is to be said");
    assert_eq!(quota(&["reset", "plan", "--all"]).1, "reset: the quota of plan is unused by 1 holder\n");
}

/// It serves, says so in the log, in metrics and to whoever asks whether it is ready, and the file stays.
#[test]
fn a_corrupt_store_is_said_and_set_aside() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let relay = builder(state.path()).start();
    echoed(&relay, "ann", &origin, 5000);
    end(relay);
    let path = state.path().join(STORE);
    let mut store = fs::read(&path).expect("the store");
    let at = store.len() - 4096;
    store[at..].fill(0x5a);
    fs::write(&path, &store).expect("damage it");
    let (relay, api) = Api::serve(builder(state.path()));
    relay.logged(&["ERROR", STORE, "is corrupt"]);
    let (status, said) = readiness(&relay);
    assert!(
        status == 200 && said.starts_with("ready, degraded: what was used of quotas may be lost"),
        "{status} {said}"
    );
    assert_eq!(metric(&relay, "quota_store_up"), Some(0.0));
    let degraded = api.get("/api/v1/stats")["degraded"].as_str().map(str::to_owned);
    assert!(degraded.is_some_and(|words| words.contains("is corrupt")));
    let aside: Vec<String> =
        names(state.path()).into_iter().filter(|name| name.contains("corrupt")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(state.path().join(&aside[0])).expect("it"), store);
    echoed(&relay, "ann", &origin, 100);
    wait::until_true("it is kept", PATIENCE, || metric(&relay, "quota_store_uses") == Some(1.0));
    assert!(!relay.log().contains("the store of quotas can be written"), "it could be all the while");
    end(relay);
    let (relay, api) = Api::serve(builder(state.path()));
    assert_eq!((used(api, "ann"), readiness(&relay)), ((100, 100), (200, "ready".to_owned())));
}

/// Fills the disk of the store, which is a small one of its own, and gives it room again.
#[test]
fn a_full_disk_is_said_and_written_to_again_once_it_has_room() {
    let test = test_name!();
    let state = TempDir::new().expect("a directory");
    let possible =
        Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none"]).arg(state.path()).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return skip::skip(&test, "user and mount namespaces are not permitted here");
    }
    let mount = format!(
        "mount -t tmpfs -o size=256k,mode=0700 none {} && exec \"$0\" \"$@\"",
        quoted(state.path().to_str().expect("UTF-8"))
    );
    let builder = builder(state.path()).under(&["unshare", "-rm", "sh", "-c", &mount]);
    let (relay, origin) = (builder.admin().start(), Origin::echo());
    let inside = PathBuf::from(format!("/proc/{}/root", relay.pid()));
    let filler = inside.join(state.path().strip_prefix("/").expect("absolute")).join("filler");
    let mut file = File::create(&filler).expect("a file on the small disk");
    while file.write_all(&[0; 1024]).is_ok() {}
    drop(file);
    echoed(&relay, "ann", &origin, 1000);
    relay.logged(&["ERROR", "quotas are not kept", "counted in memory"]);
    wait::until_true("degraded", PATIENCE, || {
        readiness(&relay).1.starts_with("ready, degraded: quotas are not kept")
    });
    assert_eq!(metric(&relay, "quota_store_up"), Some(0.0));
    // It goes on serving, and says no more of it.
    echoed(&relay, "ann", &origin, 1000);
    wait::until_true("another try", PATIENCE, || metric(&relay, "quota_store_errors_total") >= Some(2.0));
    assert_eq!(relay.log().matches("quotas are not kept").count(), 1);
    assert!(metric(&relay, "quota_store_behind_seconds") > Some(0.0));
    fs::remove_file(&filler).expect("remove it");
    relay.logged(&["they are kept"]);
    wait::until_true("ready", PATIENCE, || readiness(&relay) == (200, "ready".to_owned()));
    assert_eq!(
        (metric(&relay, "quota_store_up"), metric(&relay, "quota_store_uses")),
        (Some(1.0), Some(1.0))
    );
}

/// A store that was removed under a running server is made anew, with all that there is in memory.
#[test]
fn a_store_that_is_taken_away_is_made_anew() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let (relay, api) = Api::serve(builder(state.path()));
    echoed(&relay, "ann", &origin, 1000);
    await_used(api, "ann", 1000);
    wait::until_true("it is kept", PATIENCE, || metric(&relay, "quota_store_uses") == Some(1.0));
    for name in names(state.path()).iter().filter(|name| name.starts_with(STORE)) {
        fs::remove_file(state.path().join(name)).expect("remove it");
    }
    echoed(&relay, "bob", &origin, 10);
    end(relay);
    let (_relay, api) = Api::serve(builder(state.path()));
    assert_eq!((used(api, "ann"), used(api, "bob")), ((1000, 1000), (10, 10)));
}

/// A reload that takes a quota away, and the next one that puts it back.
#[test]
fn a_quota_that_is_put_back_counts_on() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let quota = ("limits", "per_user", "{ bytes_per_day = \"1GB\" }");
    let builder = Relay::builder().users(USERS).set(quota.0, quota.1, quota.2);
    let (mut relay, api) =
        Api::serve(builder.set("server", "state", &quoted(state.path().to_str().expect("UTF-8"))));
    echoed(&relay, "ann", &origin, 1000);
    wait::until_true("it is kept", PATIENCE, || metric(&relay, "quota_store_uses") == Some(1.0));
    await_used(api, "ann", 1000);
    relay.forget(quota.0, quota.1);
    relay.reload(&[]);
    assert_eq!(used(api, "ann"), (0, 0));
    echoed(&relay, "ann", &origin, 5);
    relay.reload(&[quota]);
    await_used(api, "ann", 1000);
}

#[test]
fn one_server_has_a_directory_at_a_time() {
    let state = TempDir::new().expect("a directory");
    let mut relay = builder(state.path()).start();
    let output = builder(state.path()).run_to_exit();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("[server] key `state`") && said.contains("is in use by another server"), "{said}");
    assert_eq!(builder(state.path()).check().status.code(), Some(0), "it may be this one, running");
    relay.signal("KILL");
    relay.wait_exit(PATIENCE);
    builder(state.path()).start();
}

#[test]
fn a_directory_that_can_keep_nothing_is_named() {
    let folder = TempDir::new().expect("a directory");
    let (file, open, newer) =
        (folder.path().join("file"), folder.path().join("open"), folder.path().join("newer"));
    fs::write(&file, "").expect("a file");
    for path in [&open, &newer] {
        fs::create_dir(path).expect("a directory");
    }
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("permissions");
    end(builder(&newer).start());
    let mut store = fs::read(newer.join(STORE)).expect("the store");
    // The place that SQLite has for a version, in the head of the file.
    store[60..64].copy_from_slice(&2_u32.to_be_bytes());
    fs::write(newer.join(STORE), &store).expect("write it");
    for (path, words) in [
        (folder.path().join("none"), "No such file or directory"),
        (file, "is not a directory"),
        (open, "can be written by everybody"),
        (newer.clone(), "was written by a newer version (its format is 2, this version knows 1 at most)"),
    ] {
        for output in [builder(&path).check(), builder(&path).run_to_exit()] {
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("[server] key `state`: ") && said.contains(words), "{said}");
        }
    }
    assert_eq!(fs::read(newer.join(STORE)).expect("the store"), store, "it is left alone");
}

/// Where nothing is used nothing is written.
#[test]
fn an_idle_server_writes_nothing() {
    let (state, origin) = (TempDir::new().expect("a directory"), Origin::echo());
    let (relay, api) = Api::serve(builder(state.path()));
    echoed(&relay, "ann", &origin, 1000);
    await_used(api, "ann", 1000);
    wait::until_true("it is kept", PATIENCE, || {
        metric(&relay, "quota_store_uses") == Some(1.0)
            && metric(&relay, "quota_store_behind_seconds") == Some(0.0)
    });
    let thread = thread_of(&relay, "quotas");
    let switches = || {
        let status = fs::read_to_string(thread.join("status")).expect("the thread's status");
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        counts
            .map(|line| line.rsplit('\t').next().expect("a count").parse::<u64>().expect("a count"))
            .sum::<u64>()
    };
    // The sweep that follows a change of the period has an end.
    let settled = wait::until("the thread to rest", PATIENCE, || {
        let before = switches();
        thread::sleep(Duration::from_millis(300));
        Some(before).filter(|before| switches() == *before)
    });
    let until = Instant::now() + Duration::from_secs(3);
    wait::until_true("three seconds", PATIENCE, || Instant::now() >= until);
    assert_eq!(switches(), settled, "the thread woke up");
}

/// Where the kernel tells of a thread of the server.
fn thread_of(relay: &Relay, name: &str) -> PathBuf {
    let threads = fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("list the threads");
    let mut threads = threads.map(|entry| entry.expect("an entry").path());
    let named =
        |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    threads.find(named).expect("the thread")
}

/// A place for quotas is asked for, and a reload does not take it.
#[test]
fn a_quota_without_a_place_is_refused() {
    let folder = TempDir::new().expect("a directory");
    let mut relay = Relay::builder().users(USERS).admin().start();
    let state = quoted(folder.path().to_str().expect("UTF-8"));
    relay.write(&[("limits", "per_user", "{ bytes_per_day = \"1GB\" }")]);
    relay.signal("HUP");
    relay.logged(&["bytes_per_day", "is to outlive a restart: say in which directory"]);
    relay.write(&[("server", "state", &state)]);
    relay.signal("HUP");
    relay.logged(&["bytes_per_day", "needs [server] state, which a reload does not take"]);
    assert!(relay.is_running());
    assert_eq!(metric(&relay, "quota_store_up"), None, "there is none");
}

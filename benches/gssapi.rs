//! What does the mechanism itself cost: to seal, to open, and to establish a context?
//!
//!     cargo bench --bench gssapi
//!
//! The system's library through `sys::gssapi`, over a realm of its own (a KDC on loopback, aes256-cts-hmac-sha1-96), and
//! nothing else of the relay. The initiator is another process. Skipped with a line where the tools for that lack.
//!
//! - `wrap` and `unwrap`: `Context::wrap` and `Context::unwrap_in_place` of one token, the copy out of the library's memory
//!   included, by the bytes that are sealed in it: with integrity alone, and with confidentiality. s/GB is what a
//!   sealed relay cannot go below in that direction. The context detects no replay, so that copies of one
//!   token can be opened; the check is a comparison of numbers.
//! - `accept`: `Context::accept` of a fresh token, up to the context that stands, by CPU time: with mutual
//!   authentication and without, and without the library's replay cache, which is a file that is locked, read and
//!   written for each. What is left beside is decryption of the ticket and of the authenticator, and reading the keytab.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/paired.rs"]
mod paired;
#[allow(unused_imports, unused_macros, reason = "the realm is among what the tests stand on")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use outflow::sys::gssapi::{Context, Credentials, Library};

use paired::{Paired, Unit};
use support::gss::{CONFIDENTIAL, End, INTEGRITY, MUTUAL, SERVICE, USUAL};
use support::realm::Realm;

/// Bytes sealed in one token. The largest still is a token of less than the 65,535 bytes that RFC 1961 gives it.
const SIZES: [usize; 3] = [1 << 10, 16 << 10, 60 << 10];
/// Bytes of one turn, in as many tokens as that takes.
const TURN_BYTES: usize = 4 << 20;
/// Contexts of one turn, and turns.
const CONTEXTS: usize = 100;
const ACCEPT_TURNS: usize = 11;
/// Names the keytab to the process that measures: the library reads the rest from its environment.
const KEYTAB: &str = "OUTFLOW_BENCH_KEYTAB";
/// Where the library keeps what came before (krb5.conf(5)).
const REPLAY_CACHE: &str = "KRB5RCACHENAME";

/// The acceptor's side of the bench, and the initiator's.
struct World {
    library: &'static Library,
    credentials: Credentials,
    initiator: End,
}

impl World {
    fn new(keytab: PathBuf) -> World {
        let library = Library::load().expect("the library of the realm's tools");
        let credentials = Credentials::acquire("rcmd", &keytab).expect("the realm's keytab");
        World { library, credentials, initiator: End::start(Vec::new()) }
    }

    fn first_token(&mut self, flags: u32) -> Vec<u8> {
        self.initiator.initiate(SERVICE, flags).expect("a ticket").token
    }

    /// Takes a fresh token; the context, and what is to go back.
    fn accept(&self, token: &[u8]) -> (Context, Vec<u8>) {
        let mut context = Context::new(self.library);
        let accepted = context.accept(&self.credentials, token).expect("a fresh token");
        assert!(accepted.established.is_some(), "a context of one round");
        (context, accepted.token)
    }

    /// A context that stands on both sides.
    fn context(&mut self) -> Context {
        let token = self.first_token(MUTUAL | CONFIDENTIAL | INTEGRITY);
        let (context, answer) = self.accept(&token);
        assert!(self.initiator.proceed(&answer).expect("an answer").done);
        context
    }

    /// What accepting so many contexts takes.
    fn accept_many(&mut self, flags: u32) -> Duration {
        let tokens: Vec<_> = (0..CONTEXTS).map(|_| self.first_token(flags)).collect();
        cpu::used_by(|| {
            for token in &tokens {
                black_box(self.accept(token));
            }
        })
    }
}

/// The four ways with a token that seals so many bytes.
fn messages(paired: &Paired, world: &mut World, bytes: usize) {
    let title = format!("{} KiB", bytes >> 10);
    let names = ["integrity-wrap", "integrity-unwrap", "confidentiality-wrap", "confidentiality-unwrap"];
    if !names.iter().any(|name| paired.picks(&format!("{title}/{name}"))) {
        return;
    }
    let mut context = world.context();
    let plain = vec![0x5a; bytes];
    let tokens = [false, true].map(|confidential| world.initiator.wrap(&plain, confidential));
    let mut out = Vec::with_capacity(2 * bytes);
    let unit = Unit { per_turn: (TURN_BYTES / bytes).max(1), bytes };
    paired.compare(&title, &names.map(str::to_owned), unit, |way| {
        let confidential = way >= 2;
        if way % 2 == 0 {
            return cpu::used_by(|| {
                for _ in 0..unit.per_turn {
                    out.clear();
                    context.wrap(black_box(&plain), confidential, &mut out).expect("a context that stands");
                }
            });
        }
        // The library writes to a token that it opens: each is opened once.
        let mut copies = vec![tokens[usize::from(confidential)].clone(); unit.per_turn];
        cpu::used_by(|| {
            for token in &mut copies {
                out.clear();
                let opened = context.unwrap_in_place(token, &mut out).expect("the initiator's token");
                assert_eq!((opened.confidential, out.len()), (confidential, bytes));
            }
        })
    });
}

/// Contexts by CPU time, with what the environment says of the replay cache.
fn contexts(paired: &Paired, world: &mut World) {
    let cache = if std::env::var_os(REPLAY_CACHE).is_some() { "no-replay-cache" } else { "replay-cache" };
    for (name, flags) in [("mutual", USUAL), ("one-way", USUAL & !MUTUAL)] {
        let title = format!("accept-{cache}/{name}");
        if !paired.picks(&title) {
            continue;
        }
        let turns = if paired.once() { 1 } else { ACCEPT_TURNS };
        let mut each: Vec<f64> =
            (0..turns).map(|_| world.accept_many(flags).as_secs_f64() / CONTEXTS as f64).collect();
        each.sort_by(f64::total_cmp);
        let median = each[each.len() / 2];
        println!("{title:<32} {:>9.2} us {:>7.0} a CPU second", median * 1e6, 1.0 / median);
    }
}

/// Runs this program again, in the realm's environment: a process cannot safely change its own.
fn measure_in(realm: &Realm, replay_cache: bool) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(std::env::args_os().skip(1)).envs(realm.environment());
    command.env("KRB5CCNAME", realm.tickets("alice")).env(KEYTAB, realm.keytab());
    if !replay_cache {
        command.env(REPLAY_CACHE, "none:");
    }
    command.status().expect("run this program").success()
}

fn main() -> ExitCode {
    if let Some(keytab) = std::env::var_os(KEYTAB) {
        cpu::pin_first();
        let paired = Paired::from_args();
        let mut world = World::new(keytab.into());
        if std::env::var_os(REPLAY_CACHE).is_none() {
            SIZES.iter().for_each(|bytes| messages(&paired, &mut world, *bytes));
        }
        contexts(&paired, &mut world);
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = Realm::missing() {
        println!("skipped: {missing}");
        return ExitCode::SUCCESS;
    }
    let realm = Realm::start();
    match measure_in(&realm, true) && measure_in(&realm, false) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

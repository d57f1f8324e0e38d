//! What does the mechanism itself cost: to seal, to open, and to establish a context? And what does the relay add?
//!
//!     cargo bench --bench gssapi
//!
//! The system's library through `sys::gssapi`, over a realm of its own (a KDC on loopback, aes256-cts-hmac-sha1-96), and
//! in turn with it the real server. The initiator is another process. Skipped with a line where the tools for that lack.
//!
//! - `wrap` and `unwrap`: `Context::wrap` and `Context::unwrap_in_place` of one token, the copy out of the library's memory
//!   included, by the bytes that are sealed in it: with integrity alone, and with confidentiality. s/GB is what a
//!   sealed relay cannot go below in that direction. The context detects no replay, so that copies of one
//!   token can be opened; the check is a comparison of numbers.
//! - `accept`: `Context::accept` of a fresh token, up to the context that stands, by CPU time: with mutual
//!   authentication and without, and without the library's replay cache, which is a file that is locked, read and
//!   written for each. What is left beside is decryption of the ticket and of the authenticator, and reading the keytab.
//! - `relay`: a sealed stream through the server, CPU time of its process by GB of content, over what the mechanism takes
//!   for tokens of that size. Up, the client's messages have that size; down, the server makes them as large as they can
//!   be. The quotient's median, middle half, least and most, and for confidentiality whether it is below the bar.
//! - `setup`: the CPU time of a session that ends with its request (greeting, context, level 2, a target that refuses, close)
//!   in the server, beside what the library alone takes for the context (`accept`) and for the four messages around the
//!   request, and what such a session takes without authentication.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/paired.rs"]
mod paired;
#[path = "support/served.rs"]
mod served;
#[allow(unused_imports, unused_macros, reason = "the realm is among what the tests stand on")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use outflow::sys::gssapi::{Context, Library, ServiceCredentials};

use paired::{Paired, Unit, quartiles, quotients, spread};
use served::{Clients, Server, Stream};
use support::gss::{CONFIDENTIAL, End, INTEGRITY, MUTUAL, SERVICE, USUAL};
use support::realm::Realm;

/// Bytes sealed in one token. The largest still is a token of less than the 65,535 bytes that RFC 1961 gives it.
const SIZES: [usize; 3] = [1 << 10, 16 << 10, 60 << 10];
/// Bytes of one turn, in as many tokens as that takes.
const TURN_BYTES: usize = 4 << 20;
/// Contexts of one turn, and turns.
const CONTEXTS: usize = 100;
const ACCEPT_TURNS: usize = 11;
/// Content of one turn of a stream: the sooner the turns change, the less the machine drifts between them.
const STREAM_BYTES: usize = 4 << 20;
/// CPU of the relay over that of the mechanism, at most, with confidentiality.
const BAR: f64 = 1.3;
/// Contexts a CPU second of the server, at least.
const SETUPS_BAR: f64 = 1000.0;
/// Processes that make sessions, and how many each makes in one turn.
const CLIENTS: usize = 4;
const SESSIONS: usize = 96;
/// The longest token (RFC 1961 section 5.1).
const TOKEN_BYTES_MAX: u32 = 65_535;
/// Names the keytab to the process that measures: the library reads the rest from its environment.
const KEYTAB: &str = "OUTFLOW_BENCH_KEYTAB";
/// Where the library keeps what came before (krb5.conf(5)).
const REPLAY_CACHE: &str = "KRB5RCACHENAME";

/// A context that takes copies of one token.
const COPIES: u32 = MUTUAL | CONFIDENTIAL | INTEGRITY;

/// The acceptor's side of the bench, and the initiator's.
struct World {
    library: &'static Library,
    credentials: ServiceCredentials,
    keytab: PathBuf,
    initiator: End,
}

impl World {
    fn new(keytab: PathBuf) -> World {
        let library = Library::load().expect("the library of the realm's tools");
        let credentials = ServiceCredentials::acquire("rcmd", &keytab).expect("the realm's keytab");
        World { library, credentials, keytab, initiator: End::start(Vec::new()) }
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
    fn context(&mut self, flags: u32) -> Context {
        let token = self.first_token(flags);
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
    let mut context = world.context(COPIES);
    let plain = vec![0x5a; bytes];
    let tokens = [false, true].map(|confidential| world.initiator.wrap(&plain, confidential));
    let unit = Unit { per_turn: (TURN_BYTES / bytes).max(1), bytes };
    paired.compare(&title, &names.map(str::to_owned), unit, |way| {
        let confidential = way >= 2;
        match way % 2 {
            0 => seal(&mut context, &plain, confidential, unit.per_turn),
            _ => open(&mut context, &tokens[usize::from(confidential)], confidential, unit.per_turn),
        }
    });
}

/// What sealing the same so many times takes.
fn seal(context: &mut Context, plain: &[u8], confidential: bool, count: usize) -> Duration {
    let mut out = Vec::with_capacity(2 * plain.len());
    cpu::used_by(|| {
        for _ in 0..count {
            out.clear();
            context.wrap(black_box(plain), confidential, &mut out).expect("a context that stands");
        }
    })
}

/// What opening the same so many times takes. The library writes to a token that it opens: each is opened once.
fn open(context: &mut Context, token: &[u8], confidential: bool, count: usize) -> Duration {
    let mut out = Vec::with_capacity(token.len());
    let at_once = (TURN_BYTES / token.len()).clamp(1, count);
    let mut copies = vec![Vec::new(); at_once];
    let mut used = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let copies = &mut copies[..left.min(at_once)];
        copies.fill(token.to_vec());
        used += cpu::used_by(|| {
            for token in &mut *copies {
                out.clear();
                let opened = context.unwrap_in_place(token, &mut out).expect("the initiator's token");
                assert_eq!(opened.confidential, confidential);
            }
        });
        left -= copies.len();
    }
    used
}

/// Where the bytes of a stream go, and how many of them its messages hold.
#[derive(Clone, Copy)]
enum Way {
    /// To the target; the client makes the messages.
    Up(usize),
    /// To the client; the server makes them as large as they can be.
    Down,
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Up(bytes) => format!("up-{}-KiB", bytes >> 10),
            Way::Down => "down".to_owned(),
        }
    }
}

/// The relay of sealed streams beside the mechanism.
fn streams(paired: &Paired, world: &mut World) {
    let levels = [(true, "confidentiality"), (false, "integrity")];
    let rows: Vec<_> = levels
        .iter()
        .flat_map(|level| [Way::Up(60 << 10), Way::Up(16 << 10), Way::Down].map(|way| (*level, way)))
        .map(|((confidential, level), way)| (format!("relay/{level}/{}", way.name()), confidential, way))
        .filter(|(title, ..)| paired.picks(title))
        .collect();
    if rows.is_empty() {
        return;
    }
    let server = Server::start(Some(&world.keytab));
    for (title, confidential, way) in rows {
        let turns = stream(paired, world, &server, confidential, way);
        let [[_, mechanism, _], [_, relay, _]] = [0, 1].map(|of| spread(turns[of].clone()));
        let of_rounds = quotients(&turns[1], &turns[0]);
        let [least, _, most] = spread(of_rounds.clone());
        let [low, ratio, high] = quartiles(of_rounds);
        let verdict = match confidential {
            true if ratio <= BAR => format!(", bar {BAR}: met"),
            true => format!(", bar {BAR}: missed"),
            false => String::new(),
        };
        println!(
            "{title:<32} mechanism {:>6.3} s/GB, relay {:>6.3} s/GB: {ratio:.2} [{low:.2}..{high:.2}], \
             all {} within {least:.2}..{most:.2}{verdict}",
            mechanism * 1e9,
            relay * 1e9,
            turns[0].len(),
        );
    }
}

/// Seconds a byte of each turn, of the mechanism and of the relay.
fn stream(
    paired: &Paired,
    world: &mut World,
    server: &Server,
    confidential: bool,
    way: Way,
) -> Vec<Vec<f64>> {
    let mut context = world.context(COPIES);
    let bytes = match way {
        Way::Up(bytes) => bytes,
        Way::Down => {
            let limit =
                context.wrap_size_limit(confidential, TOKEN_BYTES_MAX).expect("a context that stands");
            usize::try_from(limit).expect("64 bits")
        }
    };
    let content = if paired.once() { STREAM_BYTES / 8 } else { STREAM_BYTES };
    let plain = vec![0x5a; bytes];
    let token = world.initiator.wrap(&plain, confidential);
    let count = content / bytes;
    let content = vec![0x5a; count * bytes];
    let mut session = Stream::open(server, confidential);
    let mut through = || match way {
        Way::Up(_) => {
            let messages = session.messages(&plain, count);
            session.up(server, &messages, content.len())
        }
        Way::Down => session.down(server, &content),
    };
    // The windows begin small and grow with what arrives.
    through();
    paired.rounds(2, |of| {
        let used = match (of, way) {
            (0, Way::Up(_)) => open(&mut context, &token, confidential, count),
            (0, Way::Down) => seal(&mut context, &plain, confidential, count),
            _ => through(),
        };
        used.as_secs_f64() / content.len() as f64
    })
}

/// Contexts by CPU time.
fn contexts(paired: &Paired, world: &mut World) {
    for (name, flags) in [("mutual", USUAL), ("one-way", USUAL & !MUTUAL)] {
        let title = format!("accept-{}/{name}", cache());
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

/// Whole sessions that end with their request, and whose the CPU time of one is.
fn setups(paired: &Paired, world: &mut World) {
    let title = format!("setup-{}", cache());
    if !paired.picks(&title) {
        return;
    }
    let mut messages = Messages::new(world);
    let (none, gssapi) = (Server::start(None), Server::start(Some(&world.keytab)));
    let mut without = Clients::start(&none, false, CLIENTS);
    let mut with = Clients::start(&gssapi, true, CLIENTS);
    let of_each = if paired.once() { 5 } else { SESSIONS };
    let turns = paired.rounds(4, |way| match way {
        0 => world.accept_many(USUAL).as_secs_f64() / CONTEXTS as f64,
        1 => messages.exchange(CONTEXTS).as_secs_f64() / CONTEXTS as f64,
        2 => without.sessions(&none, of_each).as_secs_f64() / (CLIENTS * of_each) as f64,
        _ => with.sessions(&gssapi, of_each).as_secs_f64() / (CLIENTS * of_each) as f64,
    });
    let [accept, messages, plain, whole] = [0, 1, 2, 3].map(|way| spread(turns[way].clone())[1]);
    let library: Vec<_> =
        turns[0].iter().zip(&turns[1]).map(|(accept, messages)| accept + messages).collect();
    let percent = |part: &[f64]| spread(quotients(part, &turns[3])).map(|quotient| quotient * 100.0);
    for (name, seconds, part) in [
        ("library-accept", accept, &turns[0]),
        ("library-messages", messages, &turns[1]),
        ("session-without", plain, &turns[2]),
        ("session", whole, &turns[3]),
    ] {
        let [least, median, most] = percent(part);
        println!(
            "{:<40} {:>9.2} us {:>7.0} a CPU second {median:>4.0} % of a session [{least:.0}..{most:.0}]",
            format!("{title}/{name}"),
            seconds * 1e6,
            1.0 / seconds,
        );
    }
    let [library, any] = [&library, &turns[2]].map(|part| percent(part)[1]);
    let verdict = if 1.0 / whole >= SETUPS_BAR { "met" } else { "missed" };
    println!(
        "{title}: library {library:.0} %, relay {:.0} % ({any:.0} % as for any session); \
         bar {SETUPS_BAR:.0} a CPU second: {verdict}",
        100.0 - library
    );
}

/// The messages around the request of a session: level and its answer, request and its reply.
struct Messages {
    context: Context,
    initiator: End,
}

impl Messages {
    fn new(world: &World) -> Messages {
        let mut initiator = End::start(Vec::new());
        let token = initiator.initiate(SERVICE, USUAL).expect("a ticket").token;
        let (context, answer) = world.accept(&token);
        assert!(initiator.proceed(&answer).expect("an answer").done);
        Messages { context, initiator }
    }

    /// What the library takes for so many sessions.
    fn exchange(&mut self, sessions: usize) -> Duration {
        let (level, request) = ([2], [5, 1, 0, 1, 127, 0, 0, 1, 0, 80]);
        let mut token = |bytes: &[u8], confidential| self.initiator.wrap(bytes, confidential);
        let tokens: Vec<_> = (0..sessions).map(|_| (token(&level, false), token(&request, true))).collect();
        let mut out = Vec::with_capacity(1024);
        cpu::used_by(|| {
            for (first, second) in &tokens {
                for (token, answer, confidential) in
                    [(first, &level[..], false), (second, &request[..], true)]
                {
                    out.clear();
                    self.context.unwrap(token, &mut out).expect("the initiator's token");
                    self.context.wrap(answer, confidential, &mut out).expect("a context that stands");
                }
            }
        })
    }
}

/// What the environment says of the replay cache.
fn cache() -> &'static str {
    if std::env::var_os(REPLAY_CACHE).is_some() { "no-replay-cache" } else { "replay-cache" }
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
            streams(&paired, &mut world);
        }
        contexts(&paired, &mut world);
        setups(&paired, &mut world);
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

//! The threads that accept security contexts (RFC 1961 section 3), away from the workers: a round reads the keytab
//! and the replay cache.
//!
//! A worker hands a token over without a lock: a few counters and a bounded channel. First come, first served; what keeps
//! a source or a network from filling the queue is its own bound, which is small. An exchange beyond a bound is handed
//! back, and the worker tries again within its handshake deadline. That of a client that has left costs nothing.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::Identity;
use super::admission::{Admission, Bounds, Pending, Permit};
use crate::limits::{
    GSS_JOBS_MAX, GSS_JOBS_PER_NETWORK_MAX, GSS_JOBS_PER_SOURCE_MAX, GSS_POOL_MAX, USER_NAME_MAX,
};
use crate::shares::Source;
use crate::sys::gssapi::{Accepted, Context, Established, GssError, Library, ServiceCredentials};
use crate::threads::{self, survive};

/// One token of a client, for the context that it belongs to.
pub struct Exchange {
    /// The client's address; one source (IPv6: one /64) has a bound of its own.
    pub source: IpAddr,
    /// The context so far.
    pub context: Context,
    /// What the client sent.
    pub token: Vec<u8>,
    /// Called once with the result, on a thread of the acceptor; it must not block. Dropped uncalled if nobody
    /// waits any more, or if the acceptor is dropped first.
    pub done: Box<dyn FnOnce(Exchanged) + Send>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The result of a round: what the mechanism made of a token.
pub struct Exchanged {
    /// The context, given back.
    pub context: Context,
    /// For the client; empty where the mechanism has none to give, and after a failure.
    pub token: Vec<u8>,
    /// How the context stands.
    pub outcome: ContextState,
}

impl fmt::Debug for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanged").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// How a context stands after a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextState {
    /// Another token of the client is needed.
    Continue,
    /// The context stands.
    Established(Peer),
    /// The context will never stand; the library's words, without a token or a key.
    Failed(String),
}

/// The client at the other end of a context that stands, and what the context offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user that the principal is taken for.
    pub identity: Identity,
    /// Whether a message that came before is told as such.
    pub replay_detection: bool,
    /// Whether a message out of order is told as such.
    pub sequence_detection: bool,
    /// Whether messages may be encrypted.
    pub confidentiality: bool,
    /// Whether messages may be signed.
    pub integrity: bool,
}

/// Loads the GSSAPI library, once.
///
/// # Errors
/// Where there is none: which were looked for, and why each was not taken.
pub fn library() -> Result<(), String> {
    Library::load().map(drop).map_err(|why| format!("\"gssapi\" is a method, but {why}"))
}

/// The credentials for a service, from a keytab; the library must be there.
///
/// # Errors
/// Where there is no key for the service: which was looked for, and why it was not found.
pub fn credentials(service: &str, keytab: &Path) -> Result<ServiceCredentials, String> {
    // The library would wait for who writes to a FIFO.
    if std::fs::metadata(keytab).is_ok_and(|found| !found.is_file()) {
        return Err(format!("the keytab \"{}\" is not a regular file", keytab.display()));
    }
    ServiceCredentials::acquire(service, keytab)
        .map_err(|why| format!("no key for the service \"{service}\" in \"{}\": {why}", keytab.display()))
}

type Accept = dyn Fn(&mut Context, &[u8]) -> Result<Accepted, GssError> + Send + Sync;

/// Accepts contexts with one set of credentials, on threads that all sets share. Dropping the last one stops the threads,
/// after the rounds that are under way.
pub struct ContextAcceptor {
    accept: Arc<Accept>,
    pool: Arc<ContextPool>,
}

impl fmt::Debug for ContextAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextAcceptor").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// How many tokens wait, for whoever tells of it; no thread lives longer by it.
#[derive(Clone, Debug)]
pub struct ContextQueue(Arc<Admission>);

impl ContextQueue {
    /// How many tokens wait or are being taken, and how many may.
    pub fn load(&self) -> (usize, usize) {
        self.0.load()
    }
}

/// The threads, and what waits for them.
#[derive(Debug)]
struct ContextPool {
    /// `None` once the threads have been told to stop.
    jobs: Option<Sender<Admitted>>,
    stopped: Arc<AtomicBool>,
    admission: Arc<Admission>,
    threads: Vec<JoinHandle<()>>,
}

impl ContextAcceptor {
    /// Starts `threads` threads (at least 1, at most `limits::GSS_POOL_MAX`).
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(credentials: ServiceCredentials, threads: usize) -> io::Result<ContextAcceptor> {
        ContextAcceptor::start_with(accept_with(credentials), threads)
    }

    /// One with other credentials, on the same threads and with the same bounds.
    #[must_use]
    pub fn with_credentials(&self, credentials: ServiceCredentials) -> ContextAcceptor {
        ContextAcceptor { accept: accept_with(credentials), pool: Arc::clone(&self.pool) }
    }

    /// What tells how many tokens wait.
    pub fn queue(&self) -> ContextQueue {
        ContextQueue(Arc::clone(&self.pool.admission))
    }

    /// One that takes no token, for tests of who holds it.
    #[cfg(test)]
    pub(crate) fn of_no_library() -> ContextAcceptor {
        ContextAcceptor::start_with(Arc::new(|_, _| unreachable!()), 1).expect("a thread")
    }

    fn start_with(accept: Arc<Accept>, threads: usize) -> io::Result<ContextAcceptor> {
        let (jobs, next) = bounded(GSS_JOBS_MAX);
        let mut pool = ContextPool {
            jobs: Some(jobs),
            stopped: Arc::default(),
            admission: Arc::new(Admission::new(Bounds {
                all: GSS_JOBS_MAX,
                network: GSS_JOBS_PER_NETWORK_MAX,
                source: GSS_JOBS_PER_SOURCE_MAX,
                own: GSS_JOBS_PER_SOURCE_MAX,
                user: GSS_JOBS_PER_SOURCE_MAX,
            })),
            threads: Vec::new(),
        };
        for index in 0..threads.clamp(1, GSS_POOL_MAX) {
            let (next, stopped) = (next.clone(), Arc::clone(&pool.stopped));
            pool.threads.push(threads::spawn(&format!("gss-{index}"), move || run(&next, &stopped))?);
        }
        Ok(ContextAcceptor { accept, pool: Arc::new(pool) })
    }

    /// Hands a token over. `done` is called with its result for as long as what is returned is kept.
    ///
    /// # Errors
    /// Gives the exchange back where its source, its network, or all together, have as many waiting as they may.
    pub fn submit(&self, exchange: Exchange) -> Result<Pending, Exchange> {
        let Some(permit) = Admission::admit(&self.pool.admission, Source::from(exchange.source), b"") else {
            return Err(exchange);
        };
        let Some(jobs) = &self.pool.jobs else { return Err(exchange) };
        let pending = Pending(Arc::clone(&permit));
        match jobs.try_send(Admitted { exchange, permit, accept: Arc::clone(&self.accept) }) {
            Ok(()) => Ok(pending),
            Err(TrySendError::Full(admitted) | TrySendError::Disconnected(admitted)) => {
                Err(admitted.exchange)
            }
        }
    }
}

impl ContextPool {
    /// Has its threads end behind the exchange that each is in.
    fn stop(&mut self) {
        self.stopped.store(true, Relaxed);
        self.jobs = None;
    }
}

impl Drop for ContextPool {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

struct Admitted {
    exchange: Exchange,
    permit: Arc<Permit>,
    accept: Arc<Accept>,
}

fn accept_with(credentials: ServiceCredentials) -> Arc<Accept> {
    Arc::new(move |context, token| context.accept(&credentials, token))
}

/// Runs a thread: one exchange after the other.
fn run(next: &Receiver<Admitted>, stopped: &AtomicBool) {
    for Admitted { exchange, permit, accept } in next {
        if stopped.load(Relaxed) {
            return;
        }
        if permit.is_left() {
            continue;
        }
        let Exchange { mut context, token, done, .. } = exchange;
        // A panic is that exchange's failure, not the thread's.
        let round = survive(|| accept(&mut context, &token));
        let (token, outcome) = match round {
            Some(Ok(accepted)) => outcome_of(accepted),
            Some(Err(error)) => (Vec::new(), ContextState::Failed(error.to_string())),
            None => (Vec::new(), ContextState::Failed("the round panicked".to_owned())),
        };
        permit.leave();
        survive(|| done(Exchanged { context, token, outcome }));
    }
}

fn outcome_of(Accepted { token, established }: Accepted) -> (Vec<u8>, ContextState) {
    let Some(established) = established else { return (token, ContextState::Continue) };
    let Established { initiator, acceptor, replay_detection, sequence_detection, confidentiality, integrity } =
        established;
    match user_of(&initiator, &acceptor) {
        Ok(user) => {
            let identity = Identity::User(user.into());
            let peer = Peer { identity, replay_detection, sequence_detection, confidentiality, integrity };
            (token, ContextState::Established(peer))
        }
        Err(why) => (Vec::new(), ContextState::Failed(why.to_owned())),
    }
}

/// The user that a principal is taken for: its name alone where its realm is the acceptor's own, else with its realm.
fn user_of<'a>(initiator: &'a str, acceptor: &str) -> Result<&'a str, &'static str> {
    let own = realm_at(acceptor).map(|at| &acceptor[at..]);
    let user = match realm_at(initiator) {
        Some(at) if own == Some(&initiator[at..]) => &initiator[..at],
        _ => initiator,
    };
    match user.len() {
        0 => Err("the principal's name is empty"),
        1..=USER_NAME_MAX if user.contains(char::is_control) => {
            Err("the principal's name has control characters")
        }
        1..=USER_NAME_MAX => Ok(user),
        _ => Err("the principal's name has more than 255 bytes"),
    }
}

/// Where "@REALM" begins: at the last '@' that no backslash stands before (RFC 1964 section 2.1.1).
fn realm_at(principal: &str) -> Option<usize> {
    let mut escaped = false;
    let mut found = None;
    for (at, byte) in principal.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'@' => found = Some(at),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;

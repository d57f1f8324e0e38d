//! The threads that verify passwords, away from the workers.
//!
//! A worker hands a login over without a lock: a few counters and a bounded channel. A dispatcher thread keeps the
//! waiting logins in a fair queue and gives the next to a thread that is idle.
//!
//! What the bounds do: no login that someone waits for is dropped, because any may be the one with the right password.
//! Instead `submit` hands a login back while its user, source or network, or all together, have as many waiting as
//! they may; the worker keeps it and tries again within its handshake deadline. So a source that floods is refused
//! admission alone, long before it fills what all share. Whoever leaves takes his login along.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::admission::{Admission, Bounds, Pending};
use super::dispatch::{Dispatcher, Judged, Letter, Login, PasswordCheck, Verification, Verified};
use super::secret::Memory;
use super::{Clocks, Users, ValidLogin};
use crate::limits::{
    VERIFIER_MEMORY_KEPT, VERIFIER_POOL_MAX, VERIFY_JOBS_MAX, VERIFY_JOBS_PER_NETWORK_MAX,
    VERIFY_JOBS_PER_SOURCE_MAX, VERIFY_JOBS_PER_USER_MAX, VERIFY_SHARED_PER_SOURCE_MAX,
};
use crate::proto::userpass::Credentials;
use crate::shares::Source;
use crate::threads::{self, survive};

/// A login to verify.
pub struct LoginJob {
    /// The client's address: logins of one source (IPv6: of one /64) wait for each other.
    pub source: IpAddr,
    /// What the client sent.
    pub credentials: Arc<Credentials>,
    /// Called once with the answer, on a thread of the verifier; it must not block. Dropped uncalled if nobody waits
    /// any more, or if the verifier is dropped first.
    pub done: Box<dyn FnOnce(Verified) + Send>,
}

impl fmt::Debug for LoginJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginJob").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A pool of threads that verify logins against the users. Dropping it stops the threads, after the verifications that
/// are under way.
#[derive(Debug)]
pub struct Verifier {
    /// `None` once the threads have been told to stop.
    letters: Option<Sender<Letter>>,
    admission: Arc<Admission>,
    clocks: Clocks,
    threads: Vec<JoinHandle<()>>,
}

impl Verifier {
    /// Starts `threads` threads (at least 1, at most `limits::VERIFIER_POOL_MAX`) and a dispatcher, which go by
    /// `clocks`.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no thread.
    pub fn start(users: Arc<Users>, threads: usize, clocks: Clocks) -> io::Result<Verifier> {
        Verifier::start_with(check_of(users, clocks), threads, clocks)
    }

    fn start_with(check: Arc<PasswordCheck>, threads: usize, clocks: Clocks) -> io::Result<Verifier> {
        let count = threads.clamp(1, VERIFIER_POOL_MAX);
        let (letters, inbox) = bounded(VERIFY_JOBS_MAX);
        let admission = Arc::new(Admission::new(Bounds {
            all: VERIFY_JOBS_MAX,
            network: VERIFY_JOBS_PER_NETWORK_MAX,
            source: VERIFY_SHARED_PER_SOURCE_MAX,
            own: VERIFY_JOBS_PER_SOURCE_MAX,
            user: VERIFY_JOBS_PER_USER_MAX,
        }));
        // Before the other channels, that is dropped after them: its threads end when they are closed.
        let mut verifier = Verifier { letters: Some(letters), admission, clocks, threads: Vec::new() };
        // One permit for every thread: the dispatcher sends to idle threads alone, and a thread reports
        // once a turn, so neither ever waits for room.
        let (work, next) = bounded::<Verification>(count);
        let (report, done) = bounded::<Judged>(count);
        for index in 0..count {
            let (next, report) = (next.clone(), report.clone());
            verifier.spawn(&format!("verify-{index}"), move || verify(&next, &report))?;
        }
        let mut dispatcher = Dispatcher::new(check, count, work, clocks);
        verifier.spawn("verify-queue", move || dispatcher.run(&inbox, &done))?;
        Ok(verifier)
    }

    fn spawn(&mut self, name: &str, run: impl FnMut() + Send + 'static) -> io::Result<()> {
        self.threads.push(threads::spawn(name, run)?);
        Ok(())
    }

    /// How many logins wait or are being verified, and how many may.
    pub fn load(&self) -> (usize, usize) {
        self.admission.load()
    }

    /// Hands a login over to the threads; takes no lock and never waits. `done` is called with the answer for as long as
    /// what is returned is kept.
    ///
    /// # Errors
    ///
    /// Gives the job back while too many logins of its user, its source or its network, or too many in all, wait
    /// already: it has not been judged, and can be submitted again in a while.
    pub fn submit(&self, job: LoginJob) -> Result<Pending, LoginJob> {
        let Some(letters) = &self.letters else { return Err(job) };
        let source = Source::from(job.source);
        let Some(permit) = Admission::admit(&self.admission, source, &job.credentials.user) else {
            return Err(job);
        };
        let pending = Pending(Arc::clone(&permit));
        let LoginJob { source: address, credentials, done } = job;
        match letters.try_send(Letter::Login(source, Login { credentials, done, permit })) {
            Ok(()) => Ok(pending),
            Err(TrySendError::Full(letter) | TrySendError::Disconnected(letter)) => match letter {
                Letter::Login(_, Login { credentials, done, .. }) => {
                    Err(LoginJob { source: address, credentials, done })
                }
                Letter::Users(..) => Ok(pending),
            },
        }
    }

    /// Has the logins that come from now on judged by other users; `changed` are those whose old passwords, if they
    /// had any, are forgotten. May wait for the dispatcher.
    pub fn replace(&self, users: Arc<Users>, changed: Arc<HashSet<Arc<str>>>) {
        if let Some(letters) = &self.letters {
            let _ = letters.send(Letter::Users(check_of(users, self.clocks), changed));
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // The dispatcher ends when no job can come, and the threads when the dispatcher has ended.
        self.letters = None;
        let own = thread::current().id();
        // A `done` that owned the verifier may be what drops it: a thread cannot wait for itself.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn check_of(users: Arc<Users>, clocks: Clocks) -> Arc<PasswordCheck> {
    Arc::new(move |login: &Credentials, memory: &mut Memory| {
        let today = (clocks.today)();
        match &login.password {
            Some(password) => users.verify_in(memory, &login.user, password, today),
            None => users.named(&login.user, today),
        }
    })
}

/// A verifier thread: one login after the other. Its memory stays with it, as large as `user add`'s hashes need; what a
/// larger hash asked for goes back once none has come for a while.
fn verify(next: &Receiver<Verification>, report: &Sender<Judged>) {
    let mut memory = Memory::default();
    loop {
        let work = next.recv_timeout(VERIFIER_MEMORY_KEPT).or_else(|error| match error {
            RecvTimeoutError::Timeout => {
                memory.shrink();
                next.recv().map_err(drop)
            }
            RecvTimeoutError::Disconnected => Err(()),
        });
        let Ok(Verification { tag, credentials, check, generation }) = work else { return };
        let mut finished = Finished { done: Some(Judged { tag, generation, admitted: None }), report };
        // A panic is that login's failure, not the thread's.
        let admitted = survive(|| check(&credentials, &mut memory)).flatten();
        drop(credentials);
        if !finished.tell(admitted) {
            return;
        }
    }
}

/// Tells the dispatcher that a thread is idle again, whatever ends its turn: one that never came back would leave its
/// share of the verifications undone for good.
struct Finished<'a> {
    done: Option<Judged>,
    report: &'a Sender<Judged>,
}

impl Finished<'_> {
    /// Reports the result, once; false where nobody listens any more.
    fn tell(&mut self, admitted: Option<ValidLogin>) -> bool {
        self.done.take().is_none_or(|done| self.report.send(Judged { admitted, ..done }).is_ok())
    }
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.tell(None);
    }
}

#[cfg(test)]
mod tests;

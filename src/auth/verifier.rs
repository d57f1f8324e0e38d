//! The threads that verify passwords, away from the workers.
//!
//! A worker hands a login over without a lock: two counters and a bounded channel. A dispatcher
//! thread keeps the waiting logins in a [`FairQueue`] and gives the next to a thread that is idle.
//!
//! What the bounds do: nothing that was admitted is dropped, because any waiting login may be the one
//! with the right password, and nothing here knows which sessions still wait. Instead `submit` hands
//! a login back while its own source has `VERIFY_JOBS_PER_SOURCE_MAX` distinct ones waiting (or
//! `VERIFY_SHARED_PER_SOURCE_MAX` in all), or while all sources have `VERIFY_JOBS_MAX`; the worker keeps it and tries again within its handshake deadline.
//! So a source that floods is refused admission alone, long before it fills what all share.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use super::fair::{FairQueue, Group};
use super::{Identity, Users};
use crate::limits::{
    VERIFIER_POOL_MAX, VERIFY_JOBS_MAX, VERIFY_JOBS_PER_SOURCE_MAX, VERIFY_JOBS_PER_USER_MAX,
    VERIFY_SHARED_PER_SOURCE_MAX, VERIFY_SOURCE_COUNTERS,
};
use crate::proto::userpass::Credentials;
use crate::shares::Source;
use crate::threads::{self, survive};

/// A login to verify.
pub struct Job {
    /// The client's address: logins of one source (IPv6: of one /64) wait for each other.
    pub source: IpAddr,
    /// What the client sent.
    pub credentials: Credentials,
    /// Called once with the verdict, on a verifier thread; it must not block. Dropped uncalled if the
    /// verifier is dropped first.
    pub done: Box<dyn FnOnce(Verified) + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A verdict, with the login's credentials given back.
pub struct Verified {
    /// The credentials of the job.
    pub credentials: Credentials,
    /// Whose they are, or `None` if they are wrong.
    pub identity: Option<Identity>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// A pool of threads that verify logins against one users file. Dropping it stops the threads, after
/// the verifications that are under way.
#[derive(Debug)]
pub struct Verifier {
    /// `None` once the threads have been told to stop.
    jobs: Option<Sender<Admitted>>,
    admission: Arc<Admission>,
    threads: Vec<JoinHandle<()>>,
}

type Check = dyn Fn(&Credentials) -> Option<Identity> + Send + Sync;

impl Verifier {
    /// Starts `threads` threads (at least 1, at most `limits::VERIFIER_POOL_MAX`) and a dispatcher.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no thread.
    pub fn start(users: Arc<Users>, threads: usize) -> io::Result<Verifier> {
        Verifier::start_with(Arc::new(move |login| users.verify(&login.user, &login.password)), threads)
    }

    fn start_with(check: Arc<Check>, threads: usize) -> io::Result<Verifier> {
        let count = threads.clamp(1, VERIFIER_POOL_MAX);
        let (jobs, admitted) = bounded(VERIFY_JOBS_MAX);
        // Before the other channels, that is dropped after them: its threads end when they are closed.
        let mut verifier = Verifier { jobs: Some(jobs), admission: Arc::default(), threads: Vec::new() };
        // One place for every thread: the dispatcher sends to idle threads alone, and a thread reports
        // once a turn, so neither ever waits for room.
        let (work, next) = bounded::<(Source, Group<Waiter>)>(count);
        let (report, finished) = bounded::<Source>(count);
        for index in 0..count {
            let (check, next, report) = (Arc::clone(&check), next.clone(), report.clone());
            verifier.spawn(&format!("verify-{index}"), move || verify(&*check, &next, &report))?;
        }
        verifier.spawn("verify-queue", move || dispatch(&admitted, &finished, &work, count))?;
        Ok(verifier)
    }

    fn spawn(&mut self, name: &str, run: impl FnMut() + Send + 'static) -> io::Result<()> {
        self.threads.push(threads::spawn(name, run)?);
        Ok(())
    }

    /// Hands a login over to the threads; takes no lock and never waits.
    ///
    /// # Errors
    ///
    /// Gives the job back while too many logins of its source, or too many in all, wait already: it
    /// has not been judged, and can be submitted again in a while.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        let Some(ticket) = Admission::admit(&self.admission, Source::from(job.source), &job.credentials.user)
        else {
            return Err(job);
        };
        match jobs.try_send(Admitted { job, ticket }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(admitted) | TrySendError::Disconnected(admitted)) => Err(admitted.job),
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // The dispatcher ends when no job can come, and the threads when the dispatcher has ended.
        self.jobs = None;
        let own = thread::current().id();
        // A `done` that owned the verifier may be what drops it: a thread cannot wait for itself.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

struct Admitted {
    job: Job,
    ticket: Ticket,
}

/// Whom a verdict goes to, and the place among the waiting that this takes.
struct Waiter {
    done: Box<dyn FnOnce(Verified) + Send>,
    ticket: Ticket,
}

/// How many logins wait, in all and by source: a fixed number of counters that sources share by a
/// keyed hash, so that a worker needs no lock to look.
#[derive(Debug)]
struct Admission {
    total: AtomicUsize,
    by_source: Box<[SourceCount]>,
    /// Logins that wait for a verification of their own, by source and user.
    by_user: Box<[AtomicUsize]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct SourceCount {
    /// Logins that wait for a verification of their own.
    own: AtomicUsize,
    /// All logins, until they are answered.
    all: AtomicUsize,
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            total: AtomicUsize::new(0),
            by_source: (0..VERIFY_SOURCE_COUNTERS).map(|_| SourceCount::default()).collect(),
            by_user: (0..VERIFY_SOURCE_COUNTERS).map(|_| AtomicUsize::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Admission {
    /// A place for one login of `source`, unless the source or all together have taken theirs.
    fn admit(admission: &Arc<Admission>, source: Source, user: &[u8]) -> Option<Ticket> {
        let counters = admission.by_source.len() as u64;
        let index = usize::try_from(admission.hasher.hash_one(source) % counters).unwrap_or_default();
        let user = usize::try_from(admission.hasher.hash_one((source, user)) % counters).unwrap_or_default();
        let count = &admission.by_source[index];
        let room = (admission.total.fetch_add(1, Relaxed) < VERIFY_JOBS_MAX)
            & (count.own.fetch_add(1, Relaxed) < VERIFY_JOBS_PER_SOURCE_MAX)
            & (admission.by_user[user].fetch_add(1, Relaxed) < VERIFY_JOBS_PER_USER_MAX)
            & (count.all.fetch_add(1, Relaxed) < VERIFY_SHARED_PER_SOURCE_MAX);
        // Made in any case: dropping it takes back what was counted.
        let ticket = Ticket { admission: Arc::clone(admission), index, user, own: true };
        room.then_some(ticket)
    }
}

/// One login's place in the counts, given up when dropped.
struct Ticket {
    admission: Arc<Admission>,
    /// Its source's counter.
    index: usize,
    /// Its source's and user's counter.
    user: usize,
    /// Whether it waits for a verification of its own.
    own: bool,
}

impl Ticket {
    /// It has been put with an identical login, or its turn has come.
    fn leave_queue(&mut self) {
        if std::mem::take(&mut self.own) {
            self.admission.by_source[self.index].own.fetch_sub(1, Relaxed);
            self.admission.by_user[self.user].fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave_queue();
        self.admission.by_source[self.index].all.fetch_sub(1, Relaxed);
        self.admission.total.fetch_sub(1, Relaxed);
    }
}

/// The dispatcher: gives the threads their next logins until there can be no more jobs.
fn dispatch(
    jobs: &Receiver<Admitted>,
    finished: &Receiver<Source>,
    work: &Sender<(Source, Group<Waiter>)>,
    threads: usize,
) {
    let mut queue = FairQueue::new();
    let mut idle = threads;
    loop {
        select! {
            recv(jobs) -> admitted => match admitted {
                Ok(admitted) => enqueue(&mut queue, admitted),
                Err(_) => return,
            },
            recv(finished) -> source => match source {
                Ok(source) => {
                    queue.finished(source);
                    // One of those that were at work when a panic had this begin anew.
                    idle = (idle + 1).min(threads);
                }
                Err(_) => return,
            },
        }
        // Everything that has arrived takes part in the choice, whoever came first.
        for admitted in jobs.try_iter().take(VERIFY_JOBS_MAX) {
            enqueue(&mut queue, admitted);
        }
        while idle > 0 {
            let Some((source, mut group)) = queue.pop() else { break };
            group.first.1.ticket.leave_queue();
            if work.send((source, group)).is_err() {
                return;
            }
            idle -= 1;
        }
    }
}

fn enqueue(queue: &mut FairQueue<Waiter>, Admitted { job, ticket }: Admitted) {
    let source = Source::from(job.source);
    if let Some(waiter) = queue.push(source, job.credentials, Waiter { done: job.done, ticket }) {
        waiter.ticket.leave_queue();
    }
}

/// A verifier thread: verifies one login after the other and answers all that share it.
fn verify(check: &Check, next: &Receiver<(Source, Group<Waiter>)>, report: &Sender<Source>) {
    for (source, Group { first, others, .. }) in next {
        let mut finished = Finished { source, report, told: false };
        // A panic is that login's failure, not the thread's.
        let identity = survive(|| check(&first.0)).unwrap_or_default();
        for (credentials, Waiter { done, ticket }) in std::iter::once(first).chain(others) {
            drop(ticket);
            let verified = Verified { credentials, identity: identity.clone() };
            survive(|| done(verified));
        }
        if !finished.tell() {
            return;
        }
    }
}

/// Tells the dispatcher that a thread is idle again, whatever ends its turn: one that never came back would leave its
/// share of the verifications undone for good.
struct Finished<'a> {
    source: Source,
    report: &'a Sender<Source>,
    told: bool,
}

impl Finished<'_> {
    /// False where nobody listens any more.
    fn tell(&mut self) -> bool {
        std::mem::replace(&mut self.told, true) || self.report.send(self.source).is_ok()
    }
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;

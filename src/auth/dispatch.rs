//! The dispatcher: one thread that knows which logins wait, which are being verified and which answers are known.
//!
//! A verification serves all who wait for the same credentials, from wherever they come. But nobody joins one before
//! his own turn: who guesses would be told by another's login that he is right.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, at, never, select};

use super::admission::Permit;
use super::cache::{Tag, VerifiedCache};
use super::fair::{FairQueue, LoginTurn, Waiter};
use super::secret::Memory;
use super::{Clocks, ValidLogin};
use crate::limits::{VERIFIED_CACHE_ENTRIES, VERIFIED_CACHE_TTL, VERIFY_JOBS_MAX};
use crate::proto::userpass::Credentials;
use crate::shares::Source;
use crate::threads::survive;

/// Gives whose credentials these are, or `None` where they are wrong.
pub(super) type PasswordCheck = dyn Fn(&Credentials, &mut Memory) -> Option<ValidLogin> + Send + Sync;

/// A message to the dispatcher.
pub(super) enum Letter {
    /// A login that was admitted.
    Login(Source, Login),
    /// Other users: how passwords are checked from now on, and whose known answers are to be forgotten.
    Users(Arc<PasswordCheck>, Arc<HashSet<Arc<str>>>),
}

/// A login, and the way back to who waits for the answer.
pub(super) struct Login {
    pub(super) credentials: Arc<Credentials>,
    pub(super) done: Box<dyn FnOnce(Verified) + Send>,
    pub(super) permit: Arc<Permit>,
}

impl Waiter for Login {
    fn has_left(&self) -> bool {
        self.permit.is_left()
    }
}

/// An answer, with the login's credentials given back.
pub struct Verified {
    /// Where the login came from.
    pub source: Source,
    /// The credentials of the job.
    pub credentials: Arc<Credentials>,
    /// Whose they are, or `None` if they are wrong.
    pub admitted: Option<ValidLogin>,
    /// How often the users had changed when the verification began.
    pub generation: u64,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("admitted", &self.admitted).finish_non_exhaustive()
    }
}

/// One verification, for a thread that is idle.
pub(super) struct Verification {
    pub(super) tag: Tag,
    pub(super) credentials: Arc<Credentials>,
    pub(super) check: Arc<PasswordCheck>,
    pub(super) generation: u64,
}

/// The result of a verification.
pub(super) struct Judged {
    pub(super) tag: Tag,
    pub(super) generation: u64,
    pub(super) admitted: Option<ValidLogin>,
}

pub(super) struct Dispatcher {
    queue: FairQueue<Login>,
    /// Right credentials of any source, and wrong ones of each.
    known: VerifiedCache,
    /// Who waits for a verification that is under way, by what it began with: the users, and the credentials.
    running: HashMap<(u64, Tag), Vec<LoginTurn<Login>>>,
    check: Arc<PasswordCheck>,
    /// How often the users have changed.
    generation: u64,
    threads: usize,
    idle: usize,
    work: Sender<Verification>,
    clocks: Clocks,
}

impl Dispatcher {
    pub(super) fn new(
        check: Arc<PasswordCheck>,
        threads: usize,
        work: Sender<Verification>,
        clocks: Clocks,
    ) -> Dispatcher {
        Dispatcher {
            queue: FairQueue::new(),
            known: VerifiedCache::new(VERIFIED_CACHE_ENTRIES, VERIFIED_CACHE_TTL),
            running: HashMap::new(),
            check,
            generation: 0,
            threads,
            idle: threads,
            work,
            clocks,
        }
    }

    /// Gives the threads their next logins until there can be no more of them. After a panic it begins without those
    /// that waited: what was half changed is let go of, and their sessions end by their deadline.
    pub(super) fn run(&mut self, letters: &Receiver<Letter>, done: &Receiver<Judged>) {
        self.queue = FairQueue::new();
        self.running.clear();
        self.known = VerifiedCache::new(VERIFIED_CACHE_ENTRIES, VERIFIED_CACHE_TTL);
        self.idle = self.threads;
        loop {
            // With no thread idle the end of a rest changes nothing.
            let due = self.queue.next_due().filter(|_| self.idle > 0);
            let alarm = due.map_or_else(never, at);
            select! {
                recv(letters) -> letter => match letter {
                    Ok(letter) => self.read(letter),
                    Err(_) => return,
                },
                recv(done) -> done => match done {
                    Ok(done) => self.finish(done),
                    Err(_) => return,
                },
                recv(alarm) -> _ => {}
            }
            // Everything that has arrived takes part in the choice, whoever came first.
            for letter in letters.try_iter().take(VERIFY_JOBS_MAX) {
                self.read(letter);
            }
            if self.start().is_err() {
                return;
            }
        }
    }

    fn read(&mut self, letter: Letter) {
        match letter {
            Letter::Login(source, login) => self.enqueue(source, login),
            Letter::Users(check, changed) => {
                self.check = check;
                self.generation += 1;
                self.known.forget(&changed);
            }
        }
    }

    fn enqueue(&mut self, source: Source, login: Login) {
        if login.has_left() {
            return;
        }
        let credentials = &*login.credentials;
        let pair = self.queue.pair(source, &credentials.user);
        let tag = self.known.tag_of(None, credentials);
        let twins = self.running.get_mut(&(self.generation, tag));
        if let Some(turn) = twins.and_then(|turns| turns.iter_mut().find(|turn| turn.pair == pair)) {
            login.permit.leave_queue();
            turn.waiters.push(login);
            return;
        }
        let own = self.known.tag_of(Some(source), credentials);
        let Clocks { now, today } = self.clocks;
        if self.known.get(&own, now(), today) == Some(None) {
            // The source was told so before.
            answer(login, source, None, self.generation);
            return;
        }
        let permit = Arc::clone(&login.permit);
        if self.queue.push(source, pair, tag, login) {
            permit.leave_queue();
        }
    }

    /// Begins verifications for as long as a thread is idle and a login may have its turn.
    fn start(&mut self) -> Result<(), ()> {
        while self.idle > 0 {
            let now = (self.clocks.now)();
            let Some(turn) = self.queue.pop(now) else { break };
            turn.waiters.iter().for_each(|login| login.permit.leave_queue());
            let key = (self.generation, turn.tag);
            if let Some(turns) = self.running.get_mut(&key) {
                turns.push(turn);
            } else if let Some(Some(admitted)) = self.known.get(&turn.tag, now, self.clocks.today) {
                self.settle(turn, Some(admitted), self.generation);
            } else if let Some(first) = turn.waiters.first() {
                let (credentials, check) = (Arc::clone(&first.credentials), Arc::clone(&self.check));
                let work = Verification { tag: turn.tag, credentials, check, generation: self.generation };
                self.work.send(work).map_err(drop)?;
                self.idle -= 1;
                self.running.insert(key, vec![turn]);
            }
        }
        Ok(())
    }

    /// Takes the result of a verification: whoever waits for it is told.
    fn finish(&mut self, Judged { tag, generation, admitted }: Judged) {
        // One of those that were at work when a panic had this begin anew.
        self.idle = (self.idle + 1).min(self.threads);
        let now = (self.clocks.now)();
        for turn in self.running.remove(&(generation, tag)).into_iter().flatten() {
            // Of users that have changed since, nothing is known.
            if generation == self.generation {
                let known = match (&admitted, turn.waiters.first()) {
                    (None, Some(Login { credentials, .. })) => {
                        self.known.tag_of(Some(turn.source), credentials)
                    }
                    _ => tag,
                };
                self.known.insert(known, admitted.clone(), now);
            }
            self.settle(turn, admitted.clone(), generation);
        }
    }

    /// Tells all who wait in this turn.
    fn settle(&mut self, turn: LoginTurn<Login>, admitted: Option<ValidLogin>, generation: u64) {
        if admitted.is_some() {
            self.queue.was_right(turn.source, turn.pair);
        }
        self.queue.finished(turn.source);
        for login in turn.waiters {
            answer(login, turn.source, admitted.clone(), generation);
        }
    }
}

fn answer(login: Login, source: Source, admitted: Option<ValidLogin>, generation: u64) {
    let Login { credentials, done, permit } = login;
    if !permit.is_left() {
        permit.leave();
        let verified = Verified { source, credentials, admitted, generation };
        // A panic is that login's failure, not the thread's.
        survive(|| done(verified));
    }
}

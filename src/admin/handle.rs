//! How the control thread has the endpoint: opened before anything is served, then run, and given other listeners.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use mio::Waker;

use super::access::AdminAccess;
use super::doors::{BoundDoor, Door, DoorError, GivenDoor, OfferedDoor};
use super::pages::Pages;
use super::server::{AdminCore, AdminLetter, OpenAddress};
use super::socket_file::SocketFile;
use super::token_file::read_token;
use super::watched::Watched;
use crate::config::AdminConfig;
use crate::limits;
use crate::sys::machine;
use crate::threads;
use crate::worker::Latch;

/// What keeps an endpoint from being opened, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// One of the addresses.
    Listen {
        /// Its place in the list.
        nth: usize,
        /// What keeps it from being listened on.
        what: String,
        /// Another has it, who may be this very server, running.
        in_use: bool,
    },
    /// The token's file.
    Token(String),
}

impl AdminError {
    fn of(nth: usize, DoorError { what, in_use }: DoorError) -> AdminError {
        AdminError::Listen { nth, what, in_use }
    }
}

/// What a configuration asks for, opened: nothing goes by it yet, and nothing is left of it where it is dropped.
#[derive(Debug)]
pub struct AdminOpening {
    /// Listeners that are there already, by their address.
    stay: Vec<OpenAddress>,
    new: Vec<BoundDoor>,
    access: AdminAccess,
}

impl AdminOpening {
    /// Whether there is an address among them that clients may reach up to now, and may not once it listens.
    pub fn is_new_to_clients(&self) -> bool {
        self.new.iter().any(|door| door.tcp().is_some())
    }

    /// The numbers by which another process gave those that it will have.
    pub fn adopted(&self) -> Vec<u16> {
        self.new.iter().filter_map(BoundDoor::given_number).collect()
    }

    /// The addresses and ports that the endpoint will have, which no client may reach.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let stay = self.stay.iter().filter_map(|(_, tcp)| *tcp);
        stay.chain(self.new.iter().filter_map(BoundDoor::tcp)).collect()
    }
}

/// Whether what a configuration asks for could be opened: everything that keeps it from that.
pub fn probe_admin(config: &AdminConfig) -> Vec<AdminError> {
    let token = config.token_file.as_deref().and_then(|path| read_token(path).err()).map(AdminError::Token);
    let probe = |(nth, address)| BoundDoor::probe(address, &[]).err().map(|error| AdminError::of(nth, error));
    token.into_iter().chain(config.listen.iter().enumerate().filter_map(probe)).collect()
}

/// The admin endpoint: a thread of its own while there is an address that it listens on, and nothing at all otherwise.
#[derive(Debug, Default)]
pub struct Admin {
    running: Option<RunningAdmin>,
    /// What it listens on.
    open: Vec<OpenAddress>,
    /// Duplicates of it, where they may be offered to another server, and whose the files are.
    offered: Option<Vec<DoorAndFile>>,
}

/// A listener as it can be offered, and whose its file is.
type DoorAndFile = (OfferedDoor, Option<Arc<SocketFile>>);

#[derive(Debug)]
struct RunningAdmin {
    letters: Sender<AdminLetter>,
    waker: Arc<Waker>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// One that can offer what it listens on to another server.
    pub fn offering() -> Admin {
        Admin { running: None, open: Vec::new(), offered: Some(Vec::new()) }
    }

    /// Opens what a configuration asks for beside what is open already, or given.
    ///
    /// # Errors
    /// The first thing that keeps it from that.
    pub fn prepare(
        &self,
        config: &AdminConfig,
        mut given: Vec<GivenDoor>,
    ) -> Result<AdminOpening, AdminError> {
        let token = config.token_file.as_deref().map(read_token).transpose().map_err(AdminError::Token)?;
        let mut opening = AdminOpening {
            stay: Vec::new(),
            new: Vec::new(),
            access: AdminAccess { own_uid: machine::effective_user(), token },
        };
        let goes = self.goes(config);
        for (nth, address) in config.listen.iter().enumerate() {
            let taken = |one: &&OpenAddress| one.0 == *address && !opening.stay.contains(one);
            if let Some(open) = self.open.iter().find(taken) {
                opening.stay.push(open.clone());
                continue;
            }
            let bound = match given.iter().position(|one| one.address == *address) {
                Some(at) => BoundDoor::given(given.swap_remove(at)),
                None => BoundDoor::bind(address, &goes),
            };
            opening.new.push(bound.map_err(|error| AdminError::of(nth, error))?);
        }
        Ok(opening)
    }

    /// Whether what a configuration asks for could be opened beside what is open already. Nothing is bound, made or removed
    /// where a file would be.
    ///
    /// # Errors
    /// The first thing that keeps it from that.
    pub fn try_out(&self, config: &AdminConfig) -> Result<(), AdminError> {
        let (mut open, goes) = (self.open.clone(), self.goes(config));
        config.token_file.as_deref().map(read_token).transpose().map_err(AdminError::Token)?;
        config.listen.iter().enumerate().try_for_each(|(nth, address)| {
            match open.iter().position(|one| one.0 == *address) {
                Some(at) => drop(open.swap_remove(at)),
                None => BoundDoor::probe(address, &goes).map_err(|error| AdminError::of(nth, error))?,
            }
            Ok(())
        })
    }

    /// Where it listens and would not by this configuration.
    fn goes(&self, config: &AdminConfig) -> Vec<SocketAddr> {
        let goes = self.open.iter().filter(|(address, _)| !config.listen.contains(address));
        goes.filter_map(|(_, tcp)| *tcp).collect()
    }

    /// What another thread prepares a change by: it knows what is open, and runs nothing.
    #[must_use]
    pub fn held(&self) -> Admin {
        Admin { running: None, open: self.open.clone(), offered: None }
    }

    /// The addresses and ports that the endpoint has, which no client may reach.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().filter_map(|(_, tcp)| *tcp).collect()
    }

    /// Goes by what was opened; the thread is started or ended where that is needed. Connections live on. The latch is let go
    /// of once nobody is let in any more by a listener that goes.
    ///
    /// # Errors
    /// What listen(2) or epoll said, or that no thread can be had.
    pub fn configure(
        &mut self,
        opening: AdminOpening,
        watched: &Watched,
        done: Arc<Latch>,
    ) -> io::Result<()> {
        let AdminOpening { stay, new, access } = opening;
        let open: Vec<_> =
            stay.iter().cloned().chain(new.iter().map(|door| (door.address().clone(), door.tcp()))).collect();
        let offered = self.offer_beside(&stay, &new)?;
        let new: Vec<Door> = new.into_iter().map(BoundDoor::listen).collect::<io::Result<_>>()?;
        say(&new);
        if open.is_empty() {
            // Not waited for: who asked for this by the endpoint is yet to be told what came of it.
            if let Some(running) = self.running.take() {
                running.tell(AdminLetter::Stop { within: limits::ADMIN_LEAVE_PATIENCE, done: Some(done) });
            }
        } else if let Some(running) = &self.running {
            running.tell(AdminLetter::Configure { stay, new, access, done });
        } else {
            self.running = Some(RunningAdmin::start(new, access, watched.clone())?);
        }
        self.open = open;
        // Those that go are closed once their duplicates are, too.
        self.offered = offered;
        Ok(())
    }

    /// What can be offered of these to another server, where anything may be.
    fn offer_beside(&self, stay: &[OpenAddress], new: &[BoundDoor]) -> io::Result<Option<Vec<DoorAndFile>>> {
        let Some(before) = &self.offered else { return Ok(None) };
        let again = |(door, file): &DoorAndFile| {
            let stays = stay.iter().any(|(address, _)| *address == door.address);
            let OfferedDoor { number, address, kept, socket, file: identity } = door;
            let (address, socket) = (address.clone(), socket.clone());
            let again = OfferedDoor { number: *number, address, kept: *kept, socket, file: *identity };
            stays.then(|| (again, file.clone()))
        };
        let mut offered: Vec<_> = before.iter().filter_map(again).collect();
        for door in new {
            let free = (0..u16::MAX).find(|number| offered.iter().all(|(one, _)| one.number != *number));
            offered.push(door.to_offer(free.unwrap_or(u16::MAX))?);
        }
        Ok(Some(offered))
    }

    /// What another server is offered that is to take this one's place.
    pub fn offered(&self) -> Vec<OfferedDoor> {
        let one = |(door, _): &DoorAndFile| OfferedDoor {
            number: door.number,
            address: door.address.clone(),
            kept: door.kept,
            socket: door.socket.clone(),
            file: door.file,
        };
        self.offered.iter().flatten().map(one).collect()
    }

    /// What was given is this server's alone, but what a service manager keeps.
    pub fn settle(&self) {
        let all = self.offered.iter().flatten().filter(|(door, _)| !door.kept);
        all.filter_map(|(_, file)| file.as_ref()).for_each(|file| file.lend(false));
    }

    /// Another server has the listeners of these numbers, and answers from now on.
    pub fn hand_over(&mut self, numbers: &[u16]) {
        let all = self.offered.iter().flatten().filter(|(door, _)| numbers.contains(&door.number));
        all.filter_map(|(_, file)| file.as_ref()).for_each(|file| file.lend(true));
        self.stop();
        self.offered = None;
    }

    /// Ends the thread once what is being sent is sent, and waits a little for that.
    pub fn stop(&mut self) {
        self.open.clear();
        let Some(running) = self.running.take() else { return };
        running.tell(AdminLetter::Stop { within: limits::ADMIN_STOP_PATIENCE, done: None });
        let until = Instant::now() + 2 * limits::ADMIN_STOP_PATIENCE;
        while !running.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(limits::ADMIN_STOP_LOOK);
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says where the endpoint is, and what is to be known of that.
fn say(new: &[Door]) {
    for door in new {
        tracing::info!("admin endpoint on {door}");
        if door.is_beyond() {
            tracing::warn!(
                "the admin endpoint on {door} is reached from beyond this machine, and speaks without TLS"
            );
        }
    }
}

impl RunningAdmin {
    fn start(open: Vec<Door>, access: AdminAccess, watched: Watched) -> io::Result<RunningAdmin> {
        let (letters, receiver) = bounded(limits::ADMIN_LETTERS_MAX);
        let (mut core, waker) = AdminCore::new(open, access, receiver)?;
        let thread = {
            let waker = waker.clone();
            threads::spawn("admin", move || core.run(|| Pages::new(watched.clone(), waker.clone())))?
        };
        Ok(RunningAdmin { letters, waker, thread })
    }

    fn tell(&self, letter: AdminLetter) {
        if self.letters.try_send(letter).is_err() {
            tracing::error!("the admin endpoint takes no letters");
        }
        let _ = self.waker.wake();
    }
}

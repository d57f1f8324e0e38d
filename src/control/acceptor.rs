//! The listeners: SO_REUSEPORT groups of one socket for each worker, all opened before the first worker runs. To one that
//! goes nobody new comes from that moment on, and the workers empty it, for a listener that closes takes its queue with it;
//! one that stays is not touched.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::given::GivenListener;
use super::held::{HeldListeners, NextListener, NextListeners};
use super::listener_kind::{ListenerKind, options};
use super::opening::{OpenedSockets, open_group, open_one};
use super::unix_listener;
use crate::config::{Config, ListenAddress, overlap};
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;
use crate::worker::{ListenerName, NumberedListener};

/// Every listener.
#[derive(Debug, Default)]
pub(super) struct Acceptor {
    groups: Vec<ListenerGroup>,
    workers: usize,
    /// Who has each number; one that nobody holds any more is free.
    numbers: Vec<Weak<ListenerName>>,
    addresses: Vec<SocketAddr>,
    /// Where sockets were let go of, and those that some worker may have yet.
    leaving: Vec<(SocketAddr, Vec<Weak<Listener>>)>,
    /// Listeners of a service manager that nobody accepts on. It has them open all the same, so that none can be opened in their
    /// place: they are had again from here.
    resting: Vec<ListenerGroup>,
}

/// One listener: its name and its sockets, of which there are none while the server drains.
#[derive(Clone, Debug)]
struct ListenerGroup {
    name: Arc<ListenerName>,
    kind: ListenerKind,
    opened: OpenedSockets,
    /// The number by which another process gave it.
    given: Option<u16>,
    /// Another process gave it, and it is as that left it: [`Acceptor::settle`] is to come.
    unsettled: bool,
    /// A service manager keeps its sockets for whoever comes next: they are never this server's alone.
    kept: bool,
    /// A service manager keeps its sockets until it is told to forget them.
    stored: bool,
    /// The server that takes this one's place has it: workers leave it alone.
    handed_over: bool,
}

/// A listener as it is offered to another server. Who holds it keeps its sockets open.
#[derive(Debug)]
pub(super) struct OfferedListener {
    pub(super) number: u16,
    pub(super) called: Arc<str>,
    /// As it is configured.
    pub(super) address: ListenAddress,
    /// A service manager keeps its sockets.
    pub(super) kept: bool,
    /// In the order in which they were bound.
    pub(super) sockets: Vec<Arc<Listener>>,
    /// The file of a unix socket that goes with the server, by device and inode.
    pub(super) file: Option<(u64, u64)>,
}

/// A listener that a service manager may be given to keep.
#[derive(Debug)]
pub(super) struct StorableListener {
    pub(super) number: u16,
    /// Where it is bound.
    pub(super) address: ListenAddress,
    pub(super) sockets: Vec<Arc<Listener>>,
}

impl Acceptor {
    /// Begins with what was given, and opens what the configuration has beside it. What it has not is let go of. Nothing that
    /// was given is changed before [`Acceptor::settle`].
    ///
    /// # Errors
    /// Which of the addresses, and what the kernel said of it.
    pub(super) fn open(
        given: Vec<GivenListener>,
        config: &Config,
        congestion: CongestionControl,
    ) -> Result<Acceptor, (usize, io::Error)> {
        let mut acceptor = Acceptor { workers: config.server.workers, ..Acceptor::default() };
        let groups = given.into_iter().map(|one| acceptor.group_of(one)).collect();
        acceptor.put(groups);
        let listeners = acceptor.held().open_others(config, congestion)?;
        acceptor.adopt(listeners, config, congestion);
        Ok(acceptor)
    }

    fn group_of(&mut self, given: GivenListener) -> ListenerGroup {
        let (kind, name) = (given.kind(), self.name(given.bound));
        let sockets = given.sockets.into_iter().map(Arc::new).collect();
        let opened = OpenedSockets { sockets, file: given.file.map(Arc::new) };
        ListenerGroup {
            name,
            kind,
            opened,
            given: given.number,
            unsettled: true,
            kept: given.kept,
            stored: false,
            handed_over: false,
        }
    }

    /// Makes what was given what it would be had it been opened, as whoever gave it goes on with it no more: workers without a
    /// socket of their own get one where that can be. They are yet to be told.
    pub(super) fn settle(&mut self, config: &Config, congestion: CongestionControl) {
        for group in self.groups.iter_mut().filter(|group| group.unsettled) {
            group.unsettled = false;
            group.lend(group.kept);
            for socket in &group.opened.sockets {
                // It queues as many as whoever opened it said, otherwise.
                let _ = socket.set_backlog(config.server.backlog);
            }
            if let Some(address) = group.name.address {
                group.opened.grow(address, config, congestion);
                group.opened.steer(config);
            }
            group.adjust(config, congestion);
        }
    }

    /// The addresses as bound.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where clients come in, in words: addresses as bound, and unix sockets.
    pub(super) fn listening(&self) -> Vec<String> {
        self.groups.iter().map(ListenerGroup::place).collect()
    }

    /// The listeners as sessions know them.
    pub(super) fn names(&self) -> Arc<[Arc<ListenerName>]> {
        self.groups.iter().map(|group| Arc::clone(&group.name)).collect()
    }

    /// This worker's sockets of every listener.
    pub(super) fn for_worker(&self, worker: usize) -> Vec<NumberedListener> {
        let ours = self.groups.iter().filter(|group| !group.handed_over);
        let sockets = ours.flat_map(|group| {
            let numbered =
                |socket| NumberedListener { number: group.name.number, socket: Arc::clone(socket) };
            group.opened.of_worker(worker, self.workers).map(numbered)
        });
        sockets.collect()
    }

    /// What whoever prepares other listeners has to know.
    pub(super) fn held(&self) -> HeldListeners {
        let groups = self.there().map(|group| (group.kind.clone(), group.name.address)).collect();
        HeldListeners { groups, closed: self.is_closed(), leaving: self.leaving() }
    }

    /// Those that there are, and behind them those that rest and are none of these.
    fn there(&self) -> impl Iterator<Item = &ListenerGroup> {
        self.groups.iter().chain(self.resting.iter().filter(|rests| !rests.is_among(&self.groups)))
    }

    /// Where workers have sockets yet that go.
    fn leaving(&self) -> Vec<SocketAddr> {
        let there = |(_, sockets): &&(SocketAddr, Vec<Weak<Listener>>)| {
            sockets.iter().any(|socket| socket.strong_count() > 0)
        };
        self.leaving.iter().filter(there).map(|(address, _)| *address).collect()
    }

    /// Has these take the place of those that there were. Who stays is given what accepted sockets inherit.
    pub(super) fn adopt(
        &mut self,
        NextListeners(next): NextListeners,
        config: &Config,
        congestion: CongestionControl,
    ) {
        let there: Vec<ListenerGroup> = self.there().cloned().collect();
        let mut groups = Vec::with_capacity(next.len());
        for one in next {
            groups.push(match one {
                NextListener::Kept(at, kind) => {
                    let group = ListenerGroup { kind, ..there[at].clone() };
                    if !group.unsettled {
                        group.adjust(config, congestion);
                    }
                    group
                }
                NextListener::Opened(kind, address, opened) => ListenerGroup {
                    name: self.name(address),
                    kind,
                    opened,
                    given: None,
                    unsettled: false,
                    kept: false,
                    stored: false,
                    handed_over: false,
                },
            });
        }
        for mut group in std::mem::take(&mut self.groups) {
            if !group.is_among(&groups) {
                // Who waits there is served: the manager is told to forget it.
                group.store(false);
                self.let_go(&mut group);
            }
        }
        self.put(groups);
    }

    /// Lets go of the sockets: each closes once its worker has emptied its queue. What they were is remembered.
    pub(super) fn close(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.iter_mut().for_each(|group| self.let_go(group));
        self.groups = groups;
    }

    /// Lets go of a listener's sockets, to which nobody new comes from now on.
    fn let_go(&mut self, group: &mut ListenerGroup) {
        let there = self.leaving();
        self.leaving.retain(|(address, _)| there.contains(address));
        if group.kept && !group.opened.sockets.is_empty() {
            self.resting.push(group.clone());
            group.opened = OpenedSockets::default();
            return;
        }
        // Whoever looks for a unix socket finds none from here on.
        let OpenedSockets { sockets, .. } = std::mem::take(&mut group.opened);
        let Some(address) = group.name.address else { return };
        // What another has, too, goes on there.
        for socket in sockets.iter().filter(|socket| !socket.is_lent()) {
            // Where it is refused, those are reset who come as the socket closes.
            let _ = socket.refuse_new();
        }
        self.leaving.push((address, sockets.iter().map(Arc::downgrade).collect()));
    }

    /// The numbers by which another process gave what there is.
    pub(super) fn adopted(&self) -> Vec<u16> {
        self.groups.iter().filter_map(|group| group.given).collect()
    }

    /// What the server is offered that is to take this one's place.
    pub(super) fn offered(&self) -> Vec<OfferedListener> {
        let there = self.groups.iter().filter(|group| !group.opened.sockets.is_empty());
        let offered = there.map(|group| OfferedListener {
            number: group.name.number,
            called: group.kind.called.clone(),
            address: group.kind.address.clone(),
            kept: group.kept,
            sockets: group.opened.sockets.clone(),
            file: group.opened.file.as_ref().and_then(|file| file.identity()),
        });
        offered.collect()
    }

    /// Leaves the listeners of these numbers to the server that takes this one's place. Workers are yet to be told.
    pub(super) fn hand_over(&mut self, numbers: &[u16]) {
        for group in self.groups.iter_mut().filter(|group| numbers.contains(&group.name.number)) {
            group.handed_over = true;
            group.lend(true);
        }
    }

    /// Goes on with what was handed over. Workers are yet to be told.
    pub(super) fn take_back(&mut self) {
        for group in self.groups.iter_mut().filter(|group| group.handed_over) {
            group.handed_over = false;
            group.lend(group.kept || group.stored);
        }
    }

    /// What a service manager may be given to keep, and does not have by itself: listeners at places where they will be again.
    pub(super) fn storable(&self) -> Vec<StorableListener> {
        let is_ours = |group: &&ListenerGroup| {
            let comes_again = group.kind.address.tcp().is_none_or(|endpoint| endpoint.address.port() != 0);
            comes_again && !group.kept && !group.handed_over && !group.opened.sockets.is_empty()
        };
        let storable = self.groups.iter().filter(is_ours).map(|group| StorableListener {
            number: group.name.number,
            address: group
                .name
                .address
                .map_or(group.kind.address.clone(), |bound| ListenAddress::Tcp(bound.into())),
            sockets: group.opened.sockets.clone(),
        });
        storable.collect()
    }

    /// Says whether a service manager keeps a listener: what it keeps it gives to whoever comes next, with its queue.
    pub(super) fn store(&mut self, number: u16, stored: bool) {
        self.groups
            .iter_mut()
            .filter(|group| group.name.number == number)
            .for_each(|group| group.store(stored));
    }

    /// Whether the sockets were let go of.
    pub(super) fn is_closed(&self) -> bool {
        !self.groups.is_empty() && self.groups.iter().all(|group| group.opened.sockets.is_empty())
    }

    /// Opens all listeners again, at the ports that they had.
    ///
    /// # Errors
    /// Which address cannot be had, and why; none is open then.
    pub(super) fn reopen(&mut self, config: &Config, congestion: CongestionControl) -> Result<(), String> {
        let mut groups = Vec::with_capacity(self.groups.len());
        for (group, one) in self.groups.clone().into_iter().zip(config.all_listeners()) {
            let rests = self.resting.iter().find(|rests| Arc::ptr_eq(&rests.name, &group.name));
            let opened = match group.name.address {
                address if let Some(rests) = rests => Ok((rests.opened.clone(), address)),
                Some(wanted) => self.reopen_at(wanted, config, congestion),
                None => open_one(one, config, congestion),
            };
            let (opened, address) =
                opened.map_err(|error| format!("cannot listen on {}: {error}", group.place()))?;
            let name = if address == group.name.address { group.name } else { self.name(address) };
            let group = ListenerGroup { name, opened, stored: false, ..group };
            group.adjust(config, congestion);
            groups.push(group);
        }
        self.put(groups);
        Ok(())
    }

    fn reopen_at(
        &self,
        wanted: SocketAddr,
        config: &Config,
        congestion: CongestionControl,
    ) -> io::Result<(OpenedSockets, Option<SocketAddr>)> {
        // As at a reload: what workers have there yet is no other server's.
        if !self.leaving().iter().any(|ours| overlap(*ours, wanted)) {
            Listener::probe(wanted, &options(wanted, config, congestion))?;
        }
        open_group(wanted, config, congestion)
    }

    fn put(&mut self, groups: Vec<ListenerGroup>) {
        self.addresses = groups.iter().filter_map(|group| group.name.address).collect();
        self.resting
            .retain(|rests| !groups.iter().any(|group| rests.is(group) && !group.opened.sockets.is_empty()));
        self.groups = groups;
    }

    /// The least number that no listener and no session has.
    fn name(&mut self, address: Option<SocketAddr>) -> Arc<ListenerName> {
        let free = self.numbers.iter().position(|held| held.strong_count() == 0);
        let at = free.unwrap_or_else(|| {
            self.numbers.push(Weak::new());
            self.numbers.len() - 1
        });
        let name = Arc::new(ListenerName { number: u16::try_from(at).unwrap_or(u16::MAX), address });
        self.numbers[at] = Arc::downgrade(&name);
        name
    }
}

impl ListenerGroup {
    fn is(&self, other: &ListenerGroup) -> bool {
        Arc::ptr_eq(&self.name, &other.name)
    }

    fn is_among(&self, groups: &[ListenerGroup]) -> bool {
        groups.iter().any(|group| self.is(group))
    }

    fn store(&mut self, stored: bool) {
        if self.stored != stored {
            self.stored = stored;
            self.lend(self.kept || stored);
        }
    }

    /// Says whether another process has its sockets, too.
    fn lend(&self, lent: bool) {
        self.opened.sockets.iter().for_each(|socket| socket.lend(lent));
        self.opened.file.iter().for_each(|file| file.lend(lent));
    }

    /// Where it listens, its port filled in.
    fn place(&self) -> String {
        let bound = self.name.address.map(|address| address.to_string());
        bound.unwrap_or_else(|| self.kind.address.to_string())
    }

    /// Gives its sockets what those inherit that they accept, and its file to whom it is to be.
    fn adjust(&self, config: &Config, congestion: CongestionControl) {
        if let Some(address) = self.name.address {
            let options = options(address, config, congestion);
            self.opened.sockets.iter().for_each(|socket| socket.adjust(address, &options));
        }
        let table = config.listeners.iter().find(|table| table.address == self.kind.address);
        if let Some(file) = &self.opened.file
            && let Err(error) = unix_listener::adjust(file, table)
        {
            tracing::error!(%error, "{} stays as it was", self.kind.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[&str]) -> Config {
        let mut config = Config::default();
        config.server.workers = 2;
        config.server.listen = addresses.iter().map(|one| one.parse().expect("an address")).collect();
        config
    }

    fn go_over(acceptor: &mut Acceptor, addresses: &[&str]) {
        let (config, congestion) = (config(addresses), CongestionControl::default());
        let next = acceptor.held().open_others(&config, congestion).expect("free addresses");
        acceptor.adopt(next, &config, congestion);
    }

    fn numbers(acceptor: &Acceptor) -> Vec<u16> {
        acceptor.names().iter().map(|name| name.number).collect()
    }

    #[test]
    fn a_number_is_nobody_elses_while_a_session_has_it() {
        let two = config(&["127.0.0.1:0", "127.0.0.1:0"]);
        let mut acceptor = Acceptor::open(Vec::new(), &two, CongestionControl::default()).expect("two ports");
        let session = acceptor.names();
        assert_eq!(numbers(&acceptor), [0, 1]);
        go_over(&mut acceptor, &["[::1]:0"]);
        assert_eq!(numbers(&acceptor), [2]);
        drop(session);
        go_over(&mut acceptor, &["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"]);
        assert_eq!(numbers(&acceptor), [0, 2, 1], "the one that stays has its own");
    }

    /// Its sockets are the very same, however it is written.
    #[test]
    fn one_that_stays_is_not_opened_anew() {
        let mut acceptor =
            Acceptor::open(Vec::new(), &config(&["127.0.0.1:0"]), CongestionControl::default())
                .expect("a port");
        let address = acceptor.addresses()[0];
        let sockets = acceptor.groups[0].opened.sockets.clone();
        go_over(&mut acceptor, &["127.0.0.1:0", &address.to_string()][1..]);
        go_over(&mut acceptor, &["[::1]:0", &address.to_string()]);
        assert_eq!(acceptor.addresses()[1], address);
        assert!(
            acceptor.groups[1]
                .opened
                .sockets
                .iter()
                .zip(&sockets)
                .all(|(one, other)| Arc::ptr_eq(one, other))
        );
        acceptor.close();
        drop(sockets);
        assert!(acceptor.is_closed());
        acceptor
            .reopen(&config(&["[::1]:0", &address.to_string()]), CongestionControl::default())
            .expect("free");
        assert_eq!(acceptor.addresses()[1], address);
    }
}

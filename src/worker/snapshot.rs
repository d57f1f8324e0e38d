//! What a worker goes by: everything that a reload may change, as one value.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::auth::username::UsernameRules;
use crate::auth::{Verifier, gssapi};
use crate::config::{Advertise, Config, ListenerConfig, PortRange};
use crate::dns;
use crate::observe::{LineSender, NeedSender};
use crate::policy::Policy;
use crate::policy::accounts::{LimitId, LimitPlan};
use crate::policy::egress::Egress;
use crate::policy::parents::Parents;
use crate::policy::rule_names::RuleNames;
use crate::policy::sources::Sources;
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;
use crate::tls::TlsServer;

/// Everything that a reload may change. A worker replaces it between two turns. What has not changed is the same
/// `Arc` in the new one, and the worker leaves alone what it made of it.
///
/// Each worker has an `Arc` of its own around it: its sessions will hold it, and a count of holders that all workers
/// share would be written by all of them for every session.
///
/// Outside stands what lasts as long as the worker, its number and CPU, its counters and pulse; and its listeners, which
/// no session may keep open: see [`Changeover`].
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The configuration.
    pub config: Arc<Config>,
    /// Whether sessions end that other rules deny.
    pub revokes: bool,
    /// The names of all rules that its sessions may know.
    pub rule_names: Arc<RuleNames>,
    /// Where passwords are verified, if any are.
    pub verifier: Option<Arc<Verifier>>,
    /// How clients type parameters of their sessions, if they do.
    pub username: Option<Arc<UsernameRules>>,
    /// Where GSSAPI contexts are accepted, if any are.
    pub gssapi: Option<Arc<gssapi::ContextAcceptor>>,
    /// How names are resolved.
    pub dns: Arc<dns::Settings>,
    /// What the sockets to targets are given.
    pub congestion: CongestionControl,
    /// What sessions may have and move, where anything limits them.
    pub limits: Option<Arc<LimitPlan>>,
    /// The names of all limits that its sessions may know, each at the place that is its number.
    pub limit_names: Arc<[Arc<str>]>,
    /// The pools that sessions leave from, where there are any. It comes with the policy that says which: what that names, this has.
    pub egress: Option<Arc<Egress>>,
    /// The parents that sessions go through, where there are any; they come with the policy, as pools do.
    pub parents: Option<Arc<Parents>>,
    /// What each source has, all workers' together, where that is limited.
    pub sources: Option<Arc<Sources>>,
    /// Whether somebody may ask who is busiest: where nobody can, nobody is counted.
    pub watched: bool,
    /// The queue of access records. Once there is one there is no other: whether records are wanted, and what is done
    /// where it is full, the configuration says.
    pub records: Option<LineSender>,
    /// Where to tell what sessions need, where that is learned.
    pub learn: Option<NeedSender>,
    /// The listeners in the order of the configuration; sessions know them by their numbers.
    pub listening: Arc<[Arc<ListenerName>]>,
    /// What records call them, in the same order: in memory that no other worker counts in.
    pub listener_names: Box<[Arc<str>]>,
    /// The TLS of each of them, at its place; `None` where none is spoken.
    pub tls: Arc<[Option<Arc<TlsServer>>]>,
    /// How many descriptors the worker may use for what.
    pub ceilings: Ceilings,
}

impl Snapshot {
    /// The name of a limit.
    pub(super) fn limit_name(&self, LimitId(number): LimitId) -> Option<&Arc<str>> {
        self.limit_names.get(usize::from(number))
    }

    /// The place of the listener of this number in the configuration.
    fn listener_place(&self, number: u16) -> Option<usize> {
        self.listening.iter().position(|name| name.number == number)
    }

    /// The table of the listener of this number, which a session came by that was accepted under this, where it has one.
    pub(super) fn listener_table(&self, number: u16) -> Option<&ListenerConfig> {
        self.config.listener_table(self.listener_place(number)?)
    }

    /// The TLS of the listener of this number, where it speaks any.
    pub(super) fn tls(&self, number: u16) -> Option<&Arc<TlsServer>> {
        self.tls.get(self.listener_place(number)?)?.as_ref()
    }

    /// The ports that clients of the listener of this number send datagrams to; `None`: any.
    pub(super) fn udp_ports(&self, number: u16) -> Option<PortRange> {
        self.listener_table(number).and_then(|table| table.udp_ports).or(self.config.udp.ports)
    }

    /// The addresses that clients of the listener of this number are told to send datagrams to.
    pub(super) fn udp_advertise(&self, number: u16) -> Advertise {
        self.listener_table(number).and_then(|table| table.advertise).unwrap_or(self.config.udp.advertise)
    }

    /// What records call the listener of this number, which a session came by that was accepted under this.
    pub(super) fn listener_name(&self, number: u16) -> Option<&Arc<str>> {
        self.listener_names.get(self.listener_place(number)?)
    }
}

/// A listener as sessions know it. Its number is no other's for as long as this is held, which every session does that may
/// have come by it.
#[derive(Debug, PartialEq, Eq)]
pub struct ListenerName {
    /// The number in [`crate::policy::Incoming`]: at the start its place in the configuration.
    pub number: u16,
    /// Where it listens, its port filled in; `None` for a unix socket.
    pub address: Option<SocketAddr>,
}

/// What one worker may have at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Connections.
    pub sessions: usize,
    /// Second connect attempts.
    pub second_attempts: usize,
    /// Names that no session waits for before it has an upstream.
    pub names_beside: usize,
    /// Pipes that are lent.
    pub pipes: usize,
}

/// What a worker goes over to between two turns, in one step: a listener that goes is emptied under the snapshot so far,
/// and one that comes is first asked under the new one. So nobody is let in by the listener of one configuration and the
/// methods of the other.
#[derive(Debug)]
pub struct Changeover {
    /// What to go by.
    pub snapshot: Arc<Snapshot>,
    /// Who may reach what. It is no part of the snapshot, which sessions keep: rules with long lists would stay in memory for
    /// as long as the oldest session, once for each reload.
    pub policy: Arc<Policy>,
    /// All listeners that the worker is to have; `None`: those that it has.
    pub listeners: Option<Vec<NumberedListener>>,
    /// Let go of once that is gone by.
    pub taken: Vec<Arc<Latch>>,
    /// Let go of once the listeners that go are closed, too.
    pub emptied: Vec<Arc<Latch>>,
}

impl Changeover {
    /// This one, where an earlier one is not taken yet.
    #[must_use]
    pub fn behind(mut self, earlier: Changeover) -> Changeover {
        self.listeners = self.listeners.or(earlier.listeners);
        self.taken.extend(earlier.taken);
        self.emptied.extend(earlier.emptied);
        self
    }
}

impl Changeover {
    /// To this, with the listeners that there are.
    pub fn to(snapshot: Arc<Snapshot>, policy: Arc<Policy>) -> Changeover {
        Changeover { snapshot, policy, listeners: None, taken: Vec::new(), emptied: Vec::new() }
    }
}

/// One worker's socket of a listener.
#[derive(Clone, Debug)]
pub struct NumberedListener {
    /// The listener's number: see [`ListenerName`].
    pub number: u16,
    /// The socket. Who drops it last closes it.
    pub socket: Arc<Listener>,
}

/// Tells when the last who holds it has let go.
#[derive(Debug)]
pub struct Latch(Sender<()>);

impl Latch {
    /// Sends into this channel then, if there is room.
    pub fn new(sender: Sender<()>) -> Latch {
        Latch(sender)
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        // Full: whoever reads it will look in any case.
        let _ = self.0.try_send(());
    }
}

//! How a server takes another's place, and gives its own away.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::bounded;

use super::{Changing, Server, start_quotas};
use crate::admin::{AdminOpening, OfferedDoor, OlderServers};
use crate::config::ListenAddress;
use crate::control::acceptor::OfferedListener;
use crate::control::handover::{
    Adopted, CarriedFromPredecessor, LetGo, ListenerRole, Offer, Offered, Predecessor, Released, TellUntil,
    ToldListener, UseTeller,
};
use crate::control::quota_keeper::QuotaKeeper;
use crate::control::start_error::StartError;
use crate::limits;

impl Server {
    /// Takes the place of the server before this one, which serves until that is done. Workers run, and have no listeners yet.
    ///
    /// # Errors
    /// Whatever keeps it from that: the other goes on then.
    pub(super) fn take_place_of(
        &mut self,
        predecessor: &Predecessor,
        opening: AdminOpening,
    ) -> Result<(), StartError> {
        let adopted = Adopted {
            clients: self.acceptor.adopted(),
            admin: opening.adopted(),
            takeover: self.handover.takeover.as_ref().is_some_and(|takeover| takeover.is_given()),
        };
        let (first, has_ended) = match predecessor.ready(adopted).map_err(StartError::from)? {
            LetGo::Told(uses) => (uses, false),
            LetGo::Ended => (Vec::new(), true),
        };
        // The other has closed the store by now, and counts on in memory; one that ends does so a moment later.
        let until = Instant::now() + limits::HANDOVER_STORE_PATIENCE;
        self.quotas = loop {
            match start_quotas(&self.config, &self.snapshots) {
                Err(_) if has_ended && Instant::now() < until => std::thread::sleep(limits::CONTROL_RETRY),
                kept => break kept?,
            }
        };
        self.beside.set_quota_store(self.quotas.as_ref().map(|keeper| keeper.health().clone()));
        let counted = (self.snapshots.accounts().clone(), self.snapshots.holder_names());
        let (sources, earlier) = (self.snapshots.sources(), self.handover.earlier.clone());
        self.handover.carried = Some(CarriedFromPredecessor::begin(counted, sources, first, earlier));
        self.configure_admin(opening).map_err(StartError::Machine)?;
        let quotas = self.quotas.as_ref().and_then(|keeper| keeper.trouble(Instant::now()));
        self.standing.change(|standing| standing.vitals.degraded = quotas);
        predecessor.serving().map_err(StartError::from)?;
        self.acceptor.settle(&self.config, self.snapshots.congestion());
        self.admin.settle();
        self.handover.takeover.iter().for_each(|takeover| takeover.lend(false));
        let latch = self.latch();
        self.change_over(&latch);
        Ok(())
    }

    /// Opens the endpoint of a server that takes nobody's place.
    ///
    /// # Errors
    /// What listen(2) or epoll said, or that no thread can be had.
    pub(super) fn open_admin(&mut self, opening: AdminOpening) -> Result<(), StartError> {
        self.configure_admin(opening).map_err(StartError::Machine)?;
        self.admin.settle();
        Ok(())
    }

    /// What the server is offered that is to take this one's place.
    pub(in crate::control) fn offer(&self) -> Offer {
        let clients = self.acceptor.offered().into_iter().map(|offered| {
            let OfferedListener { number, called, address, kept, sockets, file } = offered;
            let told = ToldListener {
                role: ListenerRole::Clients,
                number,
                called: called.to_string(),
                address: (&address).into(),
                kept,
                file,
                sockets: sockets.len(),
            };
            Offered {
                told,
                sockets: sockets.into_iter().map(|socket| socket as Arc<dyn AsFd + Send + Sync>).collect(),
            }
        });
        let admin = self.admin.offered().into_iter().map(|offered| {
            let OfferedDoor { number, address, kept, socket, file } = offered;
            let (called, address) = (String::new(), (&address).into());
            let role = ListenerRole::Admin;
            let told = ToldListener { role, number, called, address, kept, file, sockets: 1 };
            Offered { told, sockets: vec![socket] }
        });
        let takeover = self.handover.takeover.iter().map(|takeover| {
            let told = ToldListener {
                role: ListenerRole::Takeover,
                number: 0,
                called: String::new(),
                address: (&ListenAddress::Unix(takeover.path.clone())).into(),
                kept: false,
                file: takeover.file(),
                sockets: 1,
            };
            Offered { told, sockets: vec![takeover.socket.clone()] }
        });
        Offer { boot: self.handover.boot, listeners: clients.chain(admin).chain(takeover).collect() }
    }

    /// Has workers leave alone what another server adopted, with whoever is queued there.
    pub(in crate::control) fn release(&mut self, adopted: &Adopted) -> Changing {
        let latch = self.latch();
        self.acceptor.hand_over(&adopted.clients);
        self.change_over(&latch)
    }

    /// What takes time to be let go of.
    pub(in crate::control) fn released(&mut self) -> Released {
        let counted = (self.snapshots.accounts().clone(), self.snapshots.holder_names());
        let counters = self.workers.iter().map(|worker| worker.counters.clone()).collect();
        let keeper = self.quotas.take();
        let ending = (self.handover.ending.clone(), self.handover.earlier.clone());
        let teller = UseTeller::new(counted, self.snapshots.sources(), counters, keeper.is_some(), ending);
        Released { keeper, teller }
    }

    /// Counts what sessions of the server before this one have and use, from when that one has said all else.
    pub(in crate::control) fn follow(&mut self, predecessor: Predecessor) {
        // Where it is not told of this server, that speaks for the service at once and may not be heard.
        predecessor.over().unwrap_or_else(|error| tracing::warn!("{error}"));
        if let Some(carried) = self.handover.carried.take()
            && let Err(error) = predecessor.follow(carried)
        {
            tracing::warn!(%error, "of the server before this one nothing is counted");
        }
    }

    /// The server before this one, as far as it is there.
    pub(in crate::control) fn earlier(&self) -> &OlderServers {
        &self.handover.earlier
    }

    /// Has it told what sessions have and use, until the end of this server.
    pub(in crate::control) fn tell_until_end(&mut self) -> TellUntil {
        let ((end, ended), (telling, told)) = (bounded(0), bounded(0));
        self.handover.telling = Some((end, told));
        TellUntil { end: ended, told: telling }
    }

    /// Waits a little until the last of that is told.
    pub(super) fn end_telling(&mut self) {
        if let Some((end, told)) = self.handover.telling.take() {
            drop(end);
            let _ = told.recv_timeout(limits::HANDOVER_LAST_USES);
        }
    }

    /// Goes on with what was released.
    pub(in crate::control) fn take_back(&mut self, keeper: Option<QuotaKeeper>) -> Changing {
        self.keep_again(keeper);
        let latch = self.latch();
        self.acceptor.take_back();
        self.change_over(&latch)
    }

    /// Has what keeps quotas go on, where there is something.
    pub(in crate::control) fn keep_again(&mut self, keeper: Option<QuotaKeeper>) {
        if keeper.is_some() {
            self.quotas = keeper;
            self.tell_names();
        }
    }

    /// Another server serves. What it has adopted stays as it is; the rest closes as at a drain, which is to follow.
    pub(in crate::control) fn hand_over(&mut self, adopted: &Adopted) {
        self.handover.ending.begin();
        self.admin.hand_over(&adopted.admin);
        if let Some(takeover) = self.handover.takeover.take() {
            takeover.lend(adopted.takeover);
        }
    }

    /// The socket at which servers ask for this one's place, if there is one.
    pub(in crate::control) fn takeover_socket(&self) -> Option<Arc<OwnedFd>> {
        self.handover.takeover.as_ref().map(|takeover| takeover.socket.clone())
    }
}

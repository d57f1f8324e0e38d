//! How a server goes over to something else while its sessions go on. Nothing here waits for a worker.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender};

use super::{Server, watched};
use crate::admin::{AdminOpening, OrderError, OrderLetter, Standing};
use crate::auth::UserAttributes;
use crate::config::ConfigSource;
use crate::control::acceptor::Acceptor;
use crate::control::outlet::Outlet;
use crate::control::quota_orders::QuotaOrder;
use crate::control::reload::{Preparation, RecordsChange, Successor, UsersChange};
use crate::control::user_orders::UserOrder;
use crate::control::users::{NO_USERS_FILE, RuledBy, UsersWatch};
use crate::worker::{Changeover, Latch};

/// Something that the workers have been told to go over to.
#[derive(Debug)]
pub(in crate::control) struct Changing {
    taken: Weak<Latch>,
    emptied: Weak<Latch>,
}

impl Changing {
    /// Whether every worker goes by it.
    pub(in crate::control) fn is_taken(&self) -> bool {
        self.taken.strong_count() == 0
    }

    /// Whether the listeners that go are closed, too.
    pub(in crate::control) fn is_over(&self) -> bool {
        self.is_taken() && self.emptied.strong_count() == 0
    }

    /// What of it is not done yet, in words.
    pub(in crate::control) fn late(&self) -> Option<&'static str> {
        if !self.is_taken() {
            return Some("a worker stands still: it goes over once it turns again");
        }
        let waits =
            "clients wait at a listener that goes: it closes once they are taken, or after timeouts.drain";
        (!self.is_over()).then_some(waits)
    }
}

impl Server {
    /// What a reload begins with.
    pub(in crate::control) fn preparation(&self, source: ConfigSource) -> Preparation {
        Preparation {
            source,
            old: self.config.clone(),
            held: self.acceptor.held(),
            parts: self.snapshots.parts(),
            users: self.users.as_ref().map(UsersWatch::users),
            workers: self.workers.iter().map(|worker| worker.mailbox.clone()).collect(),
            admin: self.admin.held(),
            confinement: Arc::clone(&self.confinement),
        }
    }

    /// Goes over to another configuration, which takes no time.
    ///
    /// # Errors
    /// The endpoint's listeners or its thread cannot be had; nothing has changed then.
    pub(in crate::control) fn adopt(&mut self, candidate: Successor) -> io::Result<Changing> {
        let Successor { config, parts, listeners, records, room, users, admin, .. } = candidate;
        let latch = self.latch();
        self.admin_opens = None;
        match admin.is_new_to_clients() {
            true => self.admin_opens = Some((admin, Arc::downgrade(&latch))),
            false => self.configure_admin(admin)?,
        }
        let closed = self.acceptor.is_closed();
        self.acceptor.adopt(listeners, &config, parts.congestion);
        if closed {
            self.acceptor.close();
        }
        self.sessions_per_worker = parts.budget.sessions_of(0);
        let each = parts.budget.sessions_of_each();
        self.standing.change(|standing| standing.sessions_max = each);
        let own = self.own_addresses();
        self.snapshots.adopt(config.clone(), parts, own, self.acceptor.names());
        self.tell_names();
        let (rules, limits, egress) = (self.snapshots.rules(), self.snapshots.limits(), self.egress());
        self.standing.change(|standing| {
            (standing.rules, standing.limits, standing.egress) = (rules, limits, egress);
        });
        self.tell_listeners();
        self.beside.set_contexts(self.snapshots.contexts());
        self.config = config;
        self.records.iter().for_each(|outlet| outlet.lines.set_capacity(room));
        match records {
            RecordsChange::None => {}
            RecordsChange::Start(outlet) => {
                self.beside.set_records(Some(outlet.lines.clone()));
                self.records = Some(outlet);
            }
            RecordsChange::Switch(sink) => {
                self.rests_after = None;
                self.records.as_ref().map(|outlet| outlet.switch(sink)).unwrap_or_default();
            }
            RecordsChange::Rest => self.rests_after = Some(Arc::downgrade(&latch)),
        }
        match users {
            UsersChange::None => {}
            UsersChange::Start(watch) => {
                self.beside.set_logins(self.snapshots.verifier().as_ref());
                self.users = Some(watch);
            }
            UsersChange::Follow(file) => {
                self.users.as_ref().map(|watch| watch.follow(file, Arc::clone(&latch))).unwrap_or_default();
            }
        }
        self.follow_groups();
        Ok(self.change_over(&latch))
    }

    /// Has the users file followed by the rules in effect: whoever it puts into a group is in it.
    pub(in crate::control) fn follow_groups(&self) {
        let (config, rules) = (Arc::clone(&self.config), self.snapshots.made_rules());
        let changed = self.settled.0.clone();
        self.users.iter().for_each(|watch| {
            watch.follow_groups(RuledBy {
                config: config.clone(),
                rules: rules.clone(),
                changed: changed.clone(),
            });
        });
    }

    /// Goes over to rules with others in their groups.
    fn regroup(&mut self) {
        let Some(rules) = self.users.as_ref().and_then(UsersWatch::take_regrouped) else { return };
        self.snapshots.put_rules(rules);
        let (rules, limits) = (self.snapshots.rules(), self.snapshots.limits());
        self.standing.change(|standing| (standing.rules, standing.limits) = (rules, limits));
        self.follow_groups();
        self.send_snapshots();
    }

    /// Where clients and operators come in, or soon will, or did until now: no client may reach any of it.
    fn own_addresses(&self) -> Vec<SocketAddr> {
        let opens = self.admin_opens.as_ref().map(|(opening, _)| opening.addresses()).unwrap_or_default();
        let closes = self.admin_closes.as_ref().map(|(addresses, _)| &addresses[..]).unwrap_or_default();
        [self.acceptor.addresses(), &self.admin.addresses(), &opens, closes].concat()
    }

    /// Has the endpoint go over to this. A client that reached it through a worker would be taken for the server's own user:
    /// workers keep clients from an address of it from before it listens until it is closed.
    ///
    /// # Errors
    /// What listen(2) or epoll said, or that no thread can be had.
    pub(super) fn configure_admin(&mut self, opening: AdminOpening) -> io::Result<()> {
        let watched = watched(&self.workers, &self.standing, &self.orders.0, &self.beside);
        let (mut goes, done) = (self.admin.addresses(), self.latch());
        let closed = Arc::downgrade(&done);
        self.admin.configure(opening, &watched, done)?;
        let stay = self.admin.addresses();
        goes.extend(self.admin_closes.take().map(|(addresses, _)| addresses).unwrap_or_default());
        goes.retain(|address| !stay.contains(address));
        self.admin_closes = Some((goes, closed)).filter(|(goes, _)| !goes.is_empty());
        Ok(())
    }

    /// Gets on with a change of the endpoint that waits for workers, or for the endpoint.
    fn change_admin(&mut self) {
        if let Some((opening, _)) = self.admin_opens.take_if(|(_, told)| told.strong_count() == 0)
            && let Err(error) = self.configure_admin(opening)
        {
            tracing::error!(%error, "the admin endpoint stays as it is");
        }
        if self.admin_closes.take_if(|(_, closed)| closed.strong_count() == 0).is_some() {
            let own = self.own_addresses();
            self.snapshots.put_listeners(own, self.acceptor.names());
            self.send_snapshots();
        }
    }

    /// How many sessions each worker may have.
    pub(in crate::control) fn sessions_max(&self) -> Vec<usize> {
        self.snapshots.parts().budget.sessions_of_each()
    }

    /// Has an order about a user carried out, away from this thread, or tells why it cannot be begun.
    pub(in crate::control) fn order_user(&self, order: UserOrder) {
        let refused = match &self.users {
            Some(users) => users.give(order).map_err(|order| (order, too_many("users"))),
            None => Err((order, OrderError::NotFound(NO_USERS_FILE.to_owned()))),
        };
        if let Err((UserOrder { tell, .. }, error)) = refused {
            tell(Err(error));
        }
    }

    /// Has what was used of a quota set back, away from this thread, or tells why that cannot be begun.
    pub(in crate::control) fn order_quota(&self, order: QuotaOrder) {
        let refused = match &self.quotas {
            Some(quotas) => quotas.give(order).map_err(|order| (order, too_many("quotas"))),
            None => {
                let what = "no quota is kept: there is no [server] state";
                Err((order, OrderError::NotFound(what.to_owned())))
            }
        };
        if let Err((QuotaOrder { tell, .. }, error)) = refused {
            tell(Err(error));
        }
    }

    /// The users, sorted by their names, where any are asked for a password.
    pub(in crate::control) fn listed_users(&self) -> Option<Vec<(String, UserAttributes)>> {
        let asks = self.config.asks_users();
        let users = self.users.as_ref().filter(|_| asks)?.users();
        let listed = users.names().into_iter();
        Some(
            listed
                .map(|name| (name.to_owned(), users.attributes(name).cloned().unwrap_or_default()))
                .collect(),
        )
    }

    /// How it stands.
    pub(in crate::control) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// What operators want of it.
    pub(in crate::control) fn orders(&self) -> &(Sender<OrderLetter>, Receiver<OrderLetter>) {
        &self.orders
    }

    /// Empties and closes the listeners; sessions go on.
    pub(in crate::control) fn close_listeners(&mut self) -> Changing {
        let latch = self.latch();
        self.acceptor.close();
        self.change_over(&latch)
    }

    /// Opens the listeners again.
    ///
    /// # Errors
    /// Which address cannot be had, and why.
    pub(in crate::control) fn open_listeners(&mut self) -> Result<Changing, String> {
        let latch = self.latch();
        self.acceptor.reopen(&self.config, self.snapshots.congestion())?;
        let own = self.own_addresses();
        self.snapshots.put_listeners(own, self.acceptor.names());
        let limits = self.snapshots.limits();
        self.standing.change(|standing| standing.limits = limits);
        self.tell_listeners();
        self.tell_names();
        Ok(self.change_over(&latch))
    }

    /// Tells what listeners are called by now, and what is spoken there.
    fn tell_listeners(&self) {
        let counters = self.workers.iter().map(|worker| &*worker.counters);
        self.standing.change(|standing| {
            standing.listeners = standing.listeners.followed_by(self.snapshots.listeners(), counters);
        });
    }

    /// Tells by which names limits and holders are known by now.
    pub(super) fn tell_names(&self) {
        self.quotas.iter().for_each(|keeper| keeper.set_names(self.snapshots.holder_names()));
    }

    /// The listeners.
    pub(in crate::control) fn listeners(&mut self) -> &mut Acceptor {
        &mut self.acceptor
    }

    /// Whether the listeners are closed, and can be opened again.
    pub(in crate::control) fn is_closed(&self) -> bool {
        self.acceptor.is_closed()
    }

    /// Told when a latch was let go of.
    pub(in crate::control) fn settled(&self) -> &Receiver<()> {
        &self.settled.1
    }

    pub(super) fn latch(&self) -> Arc<Latch> {
        Arc::new(Latch::new(self.settled.0.clone()))
    }

    /// Has every worker go over to what is in effect now, its listeners too. The latch is let go of once all have.
    pub(super) fn change_over(&mut self, latch: &Arc<Latch>) -> Changing {
        let emptied = self.latch();
        for (number, worker) in self.workers.iter_mut().enumerate() {
            worker.post.change(Changeover {
                snapshot: self.snapshots.snapshot(number),
                policy: self.snapshots.policy(),
                listeners: Some(self.acceptor.for_worker(number)),
                taken: vec![Arc::clone(latch)],
                emptied: vec![Arc::clone(&emptied)],
            });
        }
        self.post();
        Changing { taken: Arc::downgrade(latch), emptied: Arc::downgrade(&emptied) }
    }

    /// Tells the workers what they have not been told; whether that was all.
    pub(in crate::control) fn post(&mut self) -> bool {
        if self.rests_after.as_ref().is_some_and(|latch| latch.strong_count() == 0) {
            self.rests_after = None;
            self.records.iter().for_each(Outlet::rest);
        }
        self.change_admin();
        self.regroup();
        let mut all = true;
        for worker in &mut self.workers {
            all &= worker.post.send(&worker.mailbox);
        }
        all
    }
}

fn too_many(changed: &str) -> OrderError {
    OrderError::Conflict(format!("too many changes of {changed} are under way"))
}

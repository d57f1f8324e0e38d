//! Which addresses are this machine's, for the guard: read at the start, again whenever the kernel says that they
//! changed, and kept as they were where they cannot be read.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ipnet::IpNet;

use crate::limits;
use crate::outbound::NetworkNamespace;
use crate::policy::Locals;
use crate::sys::netlink::{Netlink, Watch};
use crate::sys::{Errno, outbound, proc_net};
use crate::threads;

/// The last good list.
#[derive(Debug, Default)]
pub(super) struct LocalList {
    /// Kept open, so that want of descriptors does not come between the guard and its list.
    netlink: Option<Netlink>,
    /// The networks of pools that have one of their own, with the last good list of each: what leaves there comes out at its
    /// addresses as it does here at ours.
    elsewhere: Vec<(Arc<NetworkNamespace>, Vec<IpNet>)>,
    known: Option<Locals>,
    failed: bool,
}

impl LocalList {
    /// Read for the first time, with those of these networks.
    pub(super) fn read<'a>(namespaces: impl Iterator<Item = &'a Arc<NetworkNamespace>>) -> LocalList {
        let mut list = LocalList::default();
        list.follow(namespaces);
        list.refresh();
        list
    }

    /// Has the addresses of these networks from the next reading on, beside this machine's; whether they are others than so far.
    pub(super) fn follow<'a>(&mut self, namespaces: impl Iterator<Item = &'a Arc<NetworkNamespace>>) -> bool {
        let mut wanted: Vec<(Arc<NetworkNamespace>, Vec<IpNet>)> = Vec::new();
        for one in namespaces {
            if !wanted.iter().any(|(known, _)| known == one) {
                let known = self.elsewhere.iter().find(|(known, _)| known == one);
                wanted.push(known.cloned().unwrap_or_else(|| (Arc::clone(one), Vec::new())));
            }
        }
        let names = |of: &[(Arc<NetworkNamespace>, Vec<IpNet>)]| -> Vec<(u64, u64)> {
            of.iter().map(|(netns, _)| netns.id).collect()
        };
        let changed = names(&wanted) != names(&self.elsewhere);
        self.elsewhere = wanted;
        changed
    }

    /// The last good list, where there was one.
    pub(super) fn known(&self) -> Option<&Locals> {
        self.known.as_ref()
    }

    /// Reads the addresses anew and says whether they are others than before.
    pub(super) fn refresh(&mut self) -> bool {
        let read = self.ask();
        for (netns, nets) in &mut self.elsewhere {
            match outbound::inside(netns, || Netlink::open()?.local_addresses()) {
                Ok(read) => *nets = read,
                Err(errno) => tracing::debug!(%errno, "the addresses of a pool's network cannot be read"),
            }
        }
        let elsewhere = || self.elsewhere.iter().flat_map(|(_, nets)| nets).copied();
        let read = read.map(|nets| nets.into_iter().chain(elsewhere()).collect());
        self.note(read)
    }

    /// Reads this machine's addresses from netlink, or from the files in /proc where netlink is closed.
    fn ask(&mut self) -> Result<Vec<IpNet>, Errno> {
        let asked = self.ask_netlink();
        asked.or_else(|errno| proc_net::local_addresses().map_err(|_| errno))
    }

    fn ask_netlink(&mut self) -> Result<Vec<IpNet>, Errno> {
        let netlink = match &mut self.netlink {
            Some(netlink) => netlink,
            none => none.insert(Netlink::open()?),
        };
        let read = netlink.local_addresses();
        if read.is_err() {
            self.netlink = None;
        }
        read
    }

    /// What came of a reading. Failures are said once, until one succeeds.
    fn note(&mut self, read: Result<Vec<IpNet>, Errno>) -> bool {
        match read {
            Ok(nets) => {
                if std::mem::take(&mut self.failed) {
                    tracing::info!("the addresses of this machine can be read again");
                }
                let locals = Locals::new(nets);
                let changed = self.known.as_ref() != Some(&locals);
                self.known = Some(locals);
                changed
            }
            Err(errno) => {
                if !std::mem::replace(&mut self.failed, true) {
                    match &self.known {
                        Some(known) => tracing::warn!(
                            %errno,
                            blocks = known.blocks(),
                            "the addresses of this machine cannot be read: the last good list stays in force"
                        ),
                        None => tracing::warn!(
                            %errno,
                            "the addresses of this machine cannot be read, neither by AF_NETLINK nor from /proc/net: \
                             connections to it are refused once they stand, and datagrams cost a question each"
                        ),
                    }
                }
                false
            }
        }
    }
}

/// Tells of changes on a thread of its own; where that cannot be, the list is read again from time to time alone.
pub(super) fn watch() -> Receiver<()> {
    let (sender, changes) = bounded(1);
    let started = Watch::open().map_err(|errno| errno.to_string()).and_then(|watch| {
        threads::spawn("addresses", move || tell(&watch, &sender)).map_err(|error| error.to_string())
    });
    if let Err(why) = started {
        let every = limits::LOCALS_REFRESH;
        tracing::warn!(
            why,
            ?every,
            "nobody tells when this machine's addresses change: they are looked up instead"
        );
    }
    changes
}

fn tell(watch: &Watch, changes: &Sender<()>) {
    loop {
        if let Err(errno) = watch.wait() {
            tracing::warn!(%errno, "nobody tells any more when this machine's addresses change");
            return;
        }
        // One that waits there is as good as two.
        if let Err(TrySendError::Disconnected(())) = changes.try_send(()) {
            return;
        }
        std::thread::sleep(limits::LOCALS_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &[&str]) -> Result<Vec<IpNet>, Errno> {
        Ok(text.iter().map(|net| net.parse().unwrap()).collect())
    }

    #[test]
    fn a_failure_does_not_cost_the_last_good_list() {
        let mut list = LocalList::default();
        assert!(list.note(nets(&["192.0.2.9/32"])));
        let good = list.known().cloned();
        for errno in [Errno::EMFILE, Errno::EAFNOSUPPORT, Errno::ENOBUFS] {
            assert!(!list.note(Err(errno)));
            assert_eq!(list.known().cloned(), good);
        }
        assert!(!list.note(nets(&["192.0.2.9/32"])), "nothing changed");
        assert!(list.note(nets(&[])), "the kernel says that there is none");
    }

    #[test]
    fn a_list_that_was_never_read_is_not_taken_for_an_empty_one() {
        let mut list = LocalList::default();
        assert!(!list.note(Err(Errno::EAFNOSUPPORT)));
        assert_eq!(list.known(), None);
    }
}

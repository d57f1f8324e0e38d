//! What systemd, or whatever gave us NOTIFY_SOCKET, is told: sd_notify(3).
//!
//! sd-notify has the words. Its own sending knows no abstract socket and waits where the receiver does not read; here a
//! message that finds no room is dropped, for a service manager that stalls must hold up nothing.

mod storing;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

use self::storing::Store;
use super::acceptor::Acceptor;
use crate::sys::environment;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    /// Our end, and where the manager's is: it may make that anew.
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we are alive: after twice that it ends us.
    feeding: Option<Duration>,
    /// What it keeps for whoever comes next.
    store: Store,
}

impl ServiceManager {
    /// The one that the environment names. Its variables are taken out of it, so that no child takes them for its own;
    /// to be called before the first thread.
    ///
    /// # Errors
    /// It cannot be reached; in words for the log.
    pub(super) fn take() -> Result<ServiceManager, String> {
        let [socket, interval, pid, room] =
            environment::take(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE"]);
        let mut manager = ServiceManager::named(socket, interval, pid)?;
        if manager.socket.is_some() {
            manager.store.room = room.and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0);
        }
        Ok(manager)
    }

    /// The one of these variables.
    ///
    /// # Errors
    /// As [`ServiceManager::take`].
    pub(super) fn named(
        socket: Option<OsString>,
        interval: Option<OsString>,
        pid: Option<OsString>,
    ) -> Result<ServiceManager, String> {
        let Some(name) = socket.filter(|name| !name.is_empty()) else { return Ok(ServiceManager::default()) };
        let socket = reach(&name).map_err(|error| format!("NOTIFY_SOCKET={}: {error}", name.display()))?;
        let number = |text: Option<OsString>| text?.to_str()?.parse::<u64>().ok();
        let ours = number(pid).is_none_or(|pid| pid == u64::from(std::process::id()));
        let interval = number(interval).filter(|us| *us > 0 && ours).map(Duration::from_micros);
        let feeding = interval.map(|interval| interval / 2);
        Ok(ServiceManager { socket: Some(socket), feeding, store: Store::default() })
    }

    /// How often [`ServiceManager::feed`] is due, if it is.
    pub(super) fn feeding(&self) -> Option<Duration> {
        self.feeding
    }

    /// Clients are accepted.
    pub(super) fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read anew; [`ServiceManager::ready`] ends that.
    pub(super) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(&[NotifyState::Reloading, now]);
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Another process is the service's from now on, and speaks for it.
    pub(super) fn main_pid(&self, pid: u32) {
        self.send(&[NotifyState::MainPid(pid)]);
    }

    /// What `systemctl status` shows.
    pub(super) fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(status)]);
    }

    /// We are alive.
    pub(super) fn feed(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Has it keep the listeners that there are, for whoever comes next, and forget those that are gone.
    pub(super) fn keep(&mut self, acceptor: &mut Acceptor) {
        if let Some((socket, manager)) = &self.socket {
            self.store.keep((socket, manager), acceptor);
        }
    }

    /// Has it forget the listeners that it keeps: they are to refuse whoever comes.
    pub(super) fn forget_all(&mut self, acceptor: &mut Acceptor) {
        if let Some((socket, manager)) = &self.socket {
            self.store.forget_all((socket, manager), acceptor);
        }
    }

    /// Has it close what it keeps under a name. What cannot be told goes with the unit.
    pub(super) fn forget(&self, name: &str) {
        if let Some((socket, manager)) = &self.socket {
            let _ = storing::forget((socket, manager), name);
        }
    }

    fn send(&self, states: &[NotifyState]) {
        let Some((socket, manager)) = &self.socket else { return };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        // Who would be told that it failed is who does not listen.
        let _ = socket.send_to_addr(message.as_bytes(), manager);
    }
}

/// A socket that never waits, and the address of this name; an abstract one begins with `@`.
fn reach(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.connect_addr(&address)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(socket: impl Into<OsString>, interval: Option<&str>, pid: Option<&str>) -> ServiceManager {
        let variable = |text: Option<&str>| text.map(OsString::from);
        ServiceManager::named(Some(socket.into()), variable(interval), variable(pid)).unwrap()
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn all_messages(manager: &ServiceManager, socket: &UnixDatagram) {
        manager.ready("up");
        assert_eq!(heard(socket), "READY=1\nSTATUS=up\n");
        manager.reloading();
        let message = heard(socket);
        let since_boot = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
        assert!(since_boot.parse::<u64>().unwrap() > 0);
        manager.stopping("down");
        assert_eq!(heard(socket), "STOPPING=1\nSTATUS=down\n");
        manager.status("3 sessions");
        assert_eq!(heard(socket), "STATUS=3 sessions\n");
        manager.feed();
        assert_eq!(heard(socket), "WATCHDOG=1\n");
    }

    #[test]
    fn a_socket_at_a_path_and_an_abstract_one_are_told_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        all_messages(&named(&path, None, None), &socket);
        let name = format!("outflow-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        all_messages(&named(format!("@{name}"), None, None), &socket);
    }

    #[test]
    fn without_a_name_nobody_is_told() {
        for name in [None, Some(OsString::new())] {
            let manager = ServiceManager::named(name, Some("1000".into()), None).unwrap();
            assert!(manager.socket.is_none() && manager.feeding().is_none());
            manager.feed();
        }
    }

    #[test]
    fn a_name_of_nobody_is_said() {
        let said = ServiceManager::named(Some("/nowhere/notify".into()), None, None).unwrap_err();
        assert!(said.starts_with("NOTIFY_SOCKET=/nowhere/notify: No such file"), "{said}");
    }

    #[test]
    fn it_is_fed_at_half_of_its_interval_where_that_is_meant_for_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let ours = std::process::id().to_string();
        for (interval, pid, feeding) in [
            (Some("30000000"), None, Some(Duration::from_secs(15))),
            (Some("30000000"), Some(ours.as_str()), Some(Duration::from_secs(15))),
            (Some("30000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            assert_eq!(named(&path, interval, pid).feeding(), feeding, "{interval:?} {pid:?}");
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nothing_up_and_one_that_begins_anew_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = named(&path, None, None);
        (0..10_000).for_each(|_| manager.feed());
        drop(socket);
        manager.feed();
        std::fs::remove_file(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        manager.status("anew");
        assert_eq!(heard(&socket), "STATUS=anew\n");
    }
}

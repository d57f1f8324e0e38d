//! TCP congestion control, chosen by where the peer is.
//!
//! It has to be set before a connection stands: a control that paces (bbr) leaves its pacing behind when it is
//! taken away later.

use std::io;
use std::net::IpAddr;

use socket2::{Domain, Socket, Type};

use crate::limits::CONGESTION_NAME_MAX;

/// The name of one congestion control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    name: [u8; CONGESTION_NAME_MAX],
    length: u8,
}

/// The congestion control that sockets get, by where their peer is; by default the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CongestionControl {
    on_loopback: Option<Algorithm>,
    elsewhere: Option<Algorithm>,
}

impl Algorithm {
    /// `None` for a name that no kernel has: empty or too long.
    pub fn new(name: &[u8]) -> Option<Algorithm> {
        let mut bytes = [0; CONGESTION_NAME_MAX];
        bytes.get_mut(..name.len()).filter(|room| !room.is_empty())?.copy_from_slice(name);
        Some(Algorithm { name: bytes, length: name.len() as u8 })
    }

    /// The name as the kernel takes it.
    pub fn name(&self) -> &[u8] {
        &self.name[..self.length.into()]
    }
}

impl CongestionControl {
    /// The kernel's default, but on loopback one without pacing: there is no path to be gentle with, and each
    /// paced segment costs a timer.
    ///
    /// # Errors
    /// What keeps reno from being set: a filter of system calls, a kernel that gives it to the privileged alone.
    pub fn auto() -> io::Result<CongestionControl> {
        if !system_default()?.starts_with(b"bbr") {
            return Ok(CongestionControl::default());
        }
        let reno = CongestionControl::everywhere("reno")?;
        Ok(CongestionControl { elsewhere: None, ..reno })
    }

    /// The control of this name for every socket.
    ///
    /// # Errors
    /// What the kernel said of the name: ENOENT (unknown), EPERM (not allowed to this user).
    pub fn everywhere(name: &str) -> io::Result<CongestionControl> {
        let algorithm = Algorithm::new(name.as_bytes()).ok_or(io::ErrorKind::InvalidInput)?;
        probe()?.set_tcp_congestion(algorithm.name())?;
        Ok(CongestionControl { on_loopback: Some(algorithm), elsewhere: Some(algorithm) })
    }

    /// The control that a socket gets whose peers are at `address`; `None` for the kernel's default.
    pub fn at(&self, address: IpAddr) -> Option<Algorithm> {
        if address.to_canonical().is_loopback() { self.on_loopback } else { self.elsewhere }
    }
}

/// The name of the kernel's default, without its padding.
pub(super) fn system_default() -> io::Result<Vec<u8>> {
    let name = probe()?.tcp_congestion()?;
    Ok(name.into_iter().take_while(|&byte| byte != 0).collect())
}

fn probe() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length() {
        assert_eq!(Algorithm::new(b"reno").unwrap().name(), b"reno");
        assert!(Algorithm::new(&[b'x'; 15]).is_some());
        assert!(Algorithm::new(&[b'x'; 16]).is_none());
        assert!(Algorithm::new(b"").is_none());
    }

    #[test]
    fn loopback_is_told_apart_in_both_families() {
        let reno = CongestionControl { on_loopback: Algorithm::new(b"reno"), elsewhere: None };
        let on = |address: &str| reno.at(address.parse().unwrap()).is_some();
        assert!(on("127.9.9.9") && on("::1") && on("::ffff:127.0.0.1"));
        assert!(!on("192.0.2.1") && !on("2001:db8::1") && !on("0.0.0.0"));
    }

    /// Both ends of a relay: what a listener has is inherited, what a dialled socket has is set before it connects.
    #[test]
    fn sockets_get_what_was_chosen() {
        use crate::sys::listener::{Listener, Options};
        use crate::sys::stream::{Liveness, Stream};
        use std::time::Duration;

        let default = system_default().unwrap();
        // A kernel that has no other than its default shows nothing, but fails nothing either.
        let others = ["reno", "cubic"].into_iter().filter(|name| name.as_bytes() != default);
        let congestion =
            others.filter_map(|name| CongestionControl::everywhere(name).ok()).next().unwrap_or_default();
        let wanted = congestion.on_loopback.map_or(default.clone(), |algorithm| algorithm.name().to_vec());
        let second = Duration::from_secs(1);
        let liveness = Liveness { keepalive_idle: second, keepalive_interval: second, unacked: second };
        let options = Options { backlog: 1, only_v6: false, liveness, congestion };
        let listener = Listener::open("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        socket2::SockRef::from(&listener).set_nonblocking(false).unwrap();
        let address = listener.address().unwrap();
        let chosen = |stream: &Stream| {
            let name = socket2::SockRef::from(stream).tcp_congestion().unwrap();
            name.into_iter().take_while(|&byte| byte != 0).collect::<Vec<u8>>()
        };
        let connect = |algorithm| {
            let stream = Stream::open(address, algorithm).unwrap();
            stream.connect(address).unwrap();
            stream
        };
        let dialled = connect(congestion.at(address.ip()));
        assert_eq!(chosen(&dialled), wanted);
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(chosen(&accepted), wanted);
        assert_eq!(chosen(&connect(None)), default);
    }

    /// reno is built into every kernel and open to every user.
    #[test]
    fn the_kernel_has_the_last_word() {
        assert!(CongestionControl::everywhere("reno").unwrap().at([192, 0, 2, 1].into()).is_some());
        assert!(CongestionControl::everywhere("no-such-one").is_err());
        assert!(!system_default().unwrap().is_empty());
    }
}

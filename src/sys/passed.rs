//! Descriptors that a service manager passes to the process that it starts: sd_listen_fds(3).

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use socket2::{Domain, SockRef, Type};

use super::{Errno, environment};
use crate::limits;

/// The first of them: SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// The name of one that has none.
const NO_NAME: &str = "unknown";

/// One that was passed; closed when dropped, and on an exec.
#[derive(Debug)]
pub struct PassedDescriptor {
    /// What the manager calls it.
    pub name: String,
    /// Its number.
    pub number: RawFd,
    /// The descriptor.
    pub descriptor: OwnedFd,
}

/// What a descriptor is, for who expected another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorKind {
    /// A stream socket of IPv4, IPv6 or at a path that listens.
    Listening,
    /// A stream socket that does not listen.
    Connected,
    /// A socket of datagrams.
    Datagrams,
    /// Another socket.
    OtherSocket,
    /// No socket: a file, a FIFO, a device.
    NoSocket,
}

/// The descriptors that were passed to this process, in their order, and none where they are meant for another. The variables that
/// say so are taken out of the environment; to be called before the first thread and before anything is opened, as whatever has
/// these numbers is taken for what was passed.
///
/// # Errors
/// The variables make no sense, or a descriptor is not there: in words. None is taken then.
pub fn take() -> Result<Vec<PassedDescriptor>, String> {
    let [pid, count, names, _] =
        environment::take(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]);
    let named = read(std::process::id(), pid, count, names)?;
    let numbers = FIRST..;
    for (number, _) in numbers.clone().zip(&named) {
        close_on_exec(number).map_err(|errno| {
            let (many, last) = (named.len(), FIRST as usize + named.len() - 1);
            format!(
                "LISTEN_FDS={many} says that descriptors {FIRST} to {last} were passed, and {number} was not passed: {errno}"
            )
        })?;
    }
    let own = |(number, name)| {
        // SAFETY: the descriptor is open, as was found just now. Whoever started this process says that it is this one's, and
        // nothing else in it has it: nothing was opened yet.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        PassedDescriptor { name, number, descriptor }
    };
    Ok(numbers.zip(named).map(own).collect())
}

/// The names of the descriptors that these variables tell of.
fn read(
    ours: u32,
    pid: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
) -> Result<Vec<String>, String> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Vec::new()) };
    let wrong = |name: &str, value: &OsString| {
        format!("{name}={}: no such number", value.to_string_lossy().escape_debug())
    };
    let parse = |text: &OsString| text.to_str()?.parse::<usize>().ok();
    if parse(&pid).ok_or_else(|| wrong("LISTEN_PID", &pid))? != ours as usize {
        return Ok(Vec::new());
    }
    let most = limits::PASSED_DESCRIPTORS_MAX;
    let many = parse(&count).ok_or_else(|| wrong("LISTEN_FDS", &count))?;
    if many > most {
        return Err(format!("LISTEN_FDS={many}: more than the {most} that are taken"));
    }
    let Some(names) = names else { return Ok(vec![NO_NAME.to_owned(); many]) };
    let names = names.to_str().ok_or("LISTEN_FDNAMES is not UTF-8")?;
    let all: Vec<String> = names.split(':').map(str::to_owned).collect();
    match all.len() == many || many == 0 {
        true => Ok(all.into_iter().take(many).collect()),
        false => Err(format!(
            "LISTEN_FDNAMES={} has {} names, and LISTEN_FDS={many} is the number of descriptors",
            names.escape_debug(),
            all.len()
        )),
    }
}

fn close_on_exec(number: RawFd) -> Result<(), Errno> {
    // SAFETY: these two requests take numbers alone. That the descriptor is not open is one of their answers.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: as above.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) }).map(drop)
}

impl PassedDescriptor {
    /// What it is.
    pub fn kind(&self) -> DescriptorKind {
        let socket = SockRef::from(&self.descriptor);
        let (Ok(kind), Ok(domain)) = (socket.r#type(), socket.domain()) else {
            return DescriptorKind::NoSocket;
        };
        match kind {
            Type::STREAM if ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) => {
                DescriptorKind::OtherSocket
            }
            Type::STREAM if socket.is_listener().unwrap_or(false) => DescriptorKind::Listening,
            Type::STREAM => DescriptorKind::Connected,
            Type::DGRAM => DescriptorKind::Datagrams,
            _ => DescriptorKind::OtherSocket,
        }
    }

    /// The address that it is bound to, if it is to one.
    pub fn address(&self) -> Option<SocketAddr> {
        SockRef::from(&self.descriptor).local_addr().ok()?.as_socket()
    }

    /// The path that it is bound to, if it is to one.
    pub fn path(&self) -> Option<PathBuf> {
        SockRef::from(&self.descriptor).local_addr().ok()?.as_pathname().map(PathBuf::from)
    }
}

/// What the log calls it.
impl fmt::Display for PassedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {} ({})", self.number, self.name.escape_debug())
    }
}

impl fmt::Display for DescriptorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DescriptorKind::Listening => "a socket that listens",
            DescriptorKind::Connected => "a socket that does not listen",
            DescriptorKind::Datagrams => "a socket of datagrams",
            DescriptorKind::OtherSocket => "a socket of another kind than listeners",
            DescriptorKind::NoSocket => "no socket",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    fn told(pid: &str, count: &str, names: Option<&str>) -> Result<Vec<String>, String> {
        read(7, Some(pid.into()), Some(count.into()), names.map(OsString::from))
    }

    #[test]
    fn names_stand_beside_the_descriptors_of_this_process_alone() {
        assert_eq!(told("7", "2", Some("web:admin")), Ok(vec!["web".to_owned(), "admin".to_owned()]));
        assert_eq!(told("7", "2", None), Ok(vec![NO_NAME.to_owned(); 2]));
        assert_eq!(told("7", "1", Some("")), Ok(vec![String::new()]));
        assert_eq!(told("8", "2", Some("web:admin")), Ok(Vec::new()));
        assert_eq!(told("7", "0", Some("")), Ok(Vec::new()));
        assert_eq!(read(7, None, Some("1".into()), None), Ok(Vec::new()));
        assert_eq!(read(7, Some("7".into()), None, None), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (pid, count, names, said) in [
            ("x", "1", None, "LISTEN_PID=x"),
            ("7", "-1", None, "LISTEN_FDS=-1"),
            ("7", "many", None, "LISTEN_FDS=many"),
            ("7", "99999999", None, "LISTEN_FDS=99999999"),
            ("7", "2", Some("a:b:c"), "LISTEN_FDNAMES=a:b:c has 3 names, and LISTEN_FDS=2 is the number"),
        ] {
            let problem = told(pid, count, names).unwrap_err();
            assert!(problem.starts_with(said), "{problem}");
        }
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let all: [(OwnedFd, DescriptorKind); 7] = [
            (listener.into(), DescriptorKind::Listening),
            (UnixListener::bind(folder.path().join("s")).unwrap().into(), DescriptorKind::Listening),
            (connected.into(), DescriptorKind::Connected),
            (UnixStream::pair().unwrap().0.into(), DescriptorKind::Connected),
            (UdpSocket::bind("127.0.0.1:0").unwrap().into(), DescriptorKind::Datagrams),
            (UnixDatagram::unbound().unwrap().into(), DescriptorKind::Datagrams),
            (std::fs::File::open("/dev/null").unwrap().into(), DescriptorKind::NoSocket),
        ];
        for (descriptor, kind) in all {
            let passed = PassedDescriptor { name: String::new(), number: 0, descriptor };
            assert_eq!(passed.kind(), kind);
        }
    }
}

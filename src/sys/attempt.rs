//! Sockets that are opened to see whether they can be.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::outbound::{self, leave_from};
use super::{Errno, errno_of};
use crate::outbound::OutboundOptions;

/// Opens a socket of a family as these options want it, and closes it.
///
/// # Errors
/// What socket(2) refused, or as [`outbound::apply`].
pub fn opens(options: &OutboundOptions, domain: Domain) -> Result<(), Errno> {
    let socket = Socket::new(domain, Type::STREAM.cloexec(), None).map_err(|error| errno_of(&error))?;
    outbound::apply(options, &socket, domain)
}

/// Connects from `source` to `target` and closes. The calling thread waits.
///
/// # Errors
/// As [`connected`].
pub fn connects(
    options: &OutboundOptions,
    source: IpAddr,
    target: SocketAddr,
    patience: Duration,
) -> io::Result<()> {
    connected(options, Some(source), target, patience).map(drop)
}

/// Connects to `target`, from `source` where that is given. The calling thread waits for as long as `patience`, as it does for each read
/// and write of what it is given.
///
/// # Errors
/// What socket(2), bind(2) or connect(2) refused; `TimedOut` where nothing is answered in time.
pub fn connected(
    options: &OutboundOptions,
    source: Option<IpAddr>,
    target: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let connect = || {
        let domain = Domain::for_address(target);
        let socket = Socket::new(domain, Type::STREAM.cloexec(), None).map_err(|error| errno_of(&error))?;
        outbound::apply(options, &socket, domain)?;
        source.map_or(Ok(()), |source| leave_from(&socket, SocketAddr::new(source, 0), domain))?;
        socket.connect_timeout(&target.into(), patience).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Errno::ETIMEDOUT,
            _ => errno_of(&error),
        })?;
        Ok(TcpStream::from(socket))
    };
    let stream = outbound::within(options, connect).map_err(io::Error::from)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_reached_from_the_address_that_is_said_and_from_no_other_machines() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (target, options) = (listener.local_addr().unwrap(), OutboundOptions::default());
        let patience = Duration::from_secs(10);
        let from = |source: &str| connects(&options, source.parse().unwrap(), target, patience);
        from("127.0.0.77").unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), "127.0.0.77".parse::<IpAddr>().unwrap());
        assert_eq!(from("192.0.2.77").unwrap_err().raw_os_error(), Some(libc::EADDRNOTAVAIL));
        drop(listener);
        assert_eq!(from("127.0.0.77").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_interface_that_is_not_there_is_said() {
        let options = OutboundOptions { interface: Some("nosuch0".into()), ..OutboundOptions::default() };
        assert_eq!(opens(&options, Domain::IPV4), Err(Errno::ENODEV));
        assert_eq!(opens(&OutboundOptions::default(), Domain::IPV4), Ok(()));
    }
}

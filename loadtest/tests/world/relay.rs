//! What a server does between its two sides: bytes with their half-closes and resets, datagrams with their
//! headers, and the lies.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::socks::{Manner, Shared};

/// A look at whether the server is dead by now, at least so often.
const TURN: u16 = 20;
/// RSV FRAG ATYP, an IPv4 address, a port.
const UDP_HEADER: usize = 10;

/// How bytes are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// One bit of one byte.
    Flip,
    /// One byte is left out.
    Drop,
    /// One byte comes twice; a datagram comes twice.
    Double,
}

/// One direction of a session.
struct Way<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    down: bool,
    held: Vec<u8>,
    count: u64,
    ended: bool,
    stalled: bool,
}

/// Closes with RST.
pub(super) fn reset(stream: TcpStream) {
    // Of a socket that is broken already there is nothing left to reset.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Relays until both directions have ended; `Err` when either side broke or the manner says so.
pub(super) fn relay_stream(client: &TcpStream, target: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nonblocking(true)?;
    target.set_nonblocking(true)?;
    let way =
        |from, to, down| Way { from, to, down, held: Vec::new(), count: 0, ended: false, stalled: false };
    let mut ways = [way(client, target, false), way(target, client, true)];
    while !ways.iter().all(|way| way.ended) {
        if shared.dead.load(Ordering::SeqCst) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        for way in &mut ways {
            way.step(shared)?;
        }
        // One that waits for the end of what it has stalled would wait for ever.
        if ways[1].stalled && ways[0].ended {
            return Ok(());
        }
        if shared.manner == Manner::ClosesBoth && ways.iter().any(|way| way.ended) {
            return Ok(());
        }
        wait(&ways)?;
    }
    Ok(())
}

fn wait(ways: &[Way<'_>; 2]) -> io::Result<()> {
    // The client's socket is what `ways[0]` reads and `ways[1]` writes; the target's the other way round.
    let interest = |reads: &Way<'_>, writes: &Way<'_>| {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, !reads.ended && !reads.stalled && reads.held.is_empty());
        flags.set(PollFlags::POLLOUT, !writes.held.is_empty());
        flags
    };
    let mut sockets = vec![
        PollFd::new(ways[0].from.as_fd(), interest(&ways[0], &ways[1])),
        PollFd::new(ways[1].from.as_fd(), interest(&ways[1], &ways[0])),
    ];
    // A socket of which nothing is wanted would still tell of its end, again and again.
    sockets.retain(|socket| !socket.events().is_empty());
    poll(&mut sockets, PollTimeout::from(TURN))?;
    Ok(())
}

impl Way<'_> {
    fn step(&mut self, shared: &Shared) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.held.is_empty() && !self.fill(shared)? {
            return Ok(());
        }
        match (&mut &*self.to).write(&self.held) {
            Ok(count) => drop(self.held.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// `false` when there is nothing to pass on.
    fn fill(&mut self, shared: &Shared) -> io::Result<bool> {
        self.stalled = matches!(shared.manner, Manner::Stalls(limit) if self.down && self.count >= limit);
        if self.stalled {
            return Ok(false);
        }
        let mut buffer = vec![0; 16 << 10];
        match (&mut &*self.from).read(&mut buffer) {
            Ok(0) => {
                self.ended = true;
                self.to.shutdown(Shutdown::Write)?;
                return Ok(false);
            }
            Ok(count) => buffer.truncate(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        let before = self.count;
        self.count += buffer.len() as u64;
        let lie = match shared.manner {
            Manner::LiesDown(at, lie) if self.down => Some((at, lie)),
            Manner::LiesUp(at, lie) if !self.down => Some((at, lie)),
            _ => None,
        };
        if let Some((at, lie)) = lie
            && (before..self.count).contains(&at)
            && !shared.lied.swap(true, Ordering::SeqCst)
        {
            tell(lie, (at - before) as usize, &mut buffer);
        }
        if self.down {
            let all = shared.down.fetch_add(buffer.len() as u64, Ordering::SeqCst) + buffer.len() as u64;
            if matches!(shared.manner, Manner::Dies(limit) if all >= limit) {
                die(shared);
                return Err(ErrorKind::ConnectionReset.into());
            }
        }
        self.held = buffer;
        Ok(true)
    }
}

fn tell(lie: Lie, at: usize, bytes: &mut Vec<u8>) {
    match lie {
        Lie::Flip => bytes[at] ^= 0x10,
        Lie::Drop => drop(bytes.remove(at)),
        Lie::Double => bytes.insert(at, bytes[at]),
    }
}

/// The accept loop sees it at the next client, every session within a turn.
fn die(shared: &Shared) {
    shared.dead.store(true, Ordering::SeqCst);
}

/// Relays datagrams until the client's connection ends.
pub(super) fn relay_datagrams(mut control: TcpStream, socket: &UdpSocket, shared: &Shared) -> io::Result<()> {
    let outward = UdpSocket::bind("127.0.0.1:0")?;
    for each in [socket, &outward] {
        each.set_nonblocking(true)?;
    }
    control.set_nonblocking(true)?;
    let mut client = None;
    loop {
        match control.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return Ok(()),
        }
        let mut buffer = vec![0; 1 << 16];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            client = Some(from);
            let bytes = &buffer[..len];
            assert!(bytes.starts_with(&[0, 0, 0, 1]), "a header that this server understands: {bytes:?}");
            let target = SocketAddr::from((
                <[u8; 4]>::try_from(&bytes[4..8]).expect("an address"),
                u16::from_be_bytes([bytes[8], bytes[9]]),
            ));
            outward.send_to(&bytes[UDP_HEADER..], target)?;
        }
        while let Ok((len, from)) = outward.recv_from(&mut buffer) {
            let number = shared.down.fetch_add(1, Ordering::SeqCst);
            if matches!(shared.manner, Manner::Dies(limit) if number >= limit) {
                die(shared);
                return Ok(());
            }
            let SocketAddr::V4(from) = from else { unreachable!("the socket is bound to IPv4") };
            let mut bytes =
                [&[0, 0, 0, 1], from.ip().octets().as_slice(), &from.port().to_be_bytes(), &buffer[..len]]
                    .concat();
            let lie = match shared.manner {
                Manner::LiesDown(at, lie) if at == number => Some(lie),
                Manner::Drops(each) if number.is_multiple_of(each) => continue,
                _ => None,
            };
            let to = client.expect("a client that has sent");
            match lie {
                Some(Lie::Double) => drop(socket.send_to(&bytes, to)?),
                Some(lie) => tell(lie, UDP_HEADER + 40, &mut bytes),
                None => {}
            }
            socket.send_to(&bytes, to)?;
        }
        let mut sockets =
            [control.as_fd(), socket.as_fd(), outward.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut sockets, PollTimeout::from(TURN))?;
    }
}

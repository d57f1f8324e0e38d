//! SOCKS5 servers of a few lines, a thread for each client, written from RFC 1928 and from nothing that the
//! program under test uses. Each has a manner: good, or bad in one way.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::relay::{Lie, relay_datagrams, relay_stream, reset};

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Good,
    /// Answers requests with this REP.
    Refuses(u8),
    /// Accepts and says nothing.
    Mute,
    /// Relays so many bytes (or datagrams) to the client in all, then resets everything and is gone.
    Dies(u64),
    /// Relays so many bytes to the client of one session, then no more.
    Stalls(u64),
    /// Does this to the bytes toward the client, at this position of the server's first session that is
    /// long enough; or to the datagram with this number.
    LiesDown(u64, Lie),
    /// Does this to the bytes toward the target, at this position of the server's first session that is long enough; or to
    /// the datagram with this number.
    LiesUp(u64, Lie),
    /// Takes the first FIN for the end of both directions.
    ClosesBoth,
    /// Gives 0.0.0.0 as the relay's address.
    SaysAnywhere,
    /// Gives its address as IPv4 in IPv6, as a server on `[::]` may.
    SaysMapped,
    /// Gives an address that is not on this machine.
    SaysElsewhere,
    /// Drops each datagram whose number is a multiple of this.
    Drops(u64),
}

/// What all clients of a server share.
pub(super) struct Shared {
    pub(super) manner: Manner,
    /// Bytes or datagrams that went to clients.
    pub(super) down: AtomicU64,
    /// The lie has been told; there is one only.
    pub(super) lied: AtomicBool,
    /// The server is dead: whatever is open is reset.
    pub(super) dead: AtomicBool,
}

/// A server on a port of its own; its threads end with their clients and with the process.
pub(crate) struct Server {
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            manner,
            down: AtomicU64::new(0),
            lied: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        });
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.dead.load(Ordering::SeqCst) {
                    // The listener closes: from now on the port refuses.
                    return;
                }
                let shared = Arc::clone(&shared);
                // A client that breaks is no matter of this server's.
                std::thread::spawn(move || drop(serve(client, &shared)));
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    if shared.manner == Manner::Mute {
        client.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    client.set_nodelay(true)?;
    let mut head = [0; 2];
    client.read_exact(&mut head)?;
    client.read_exact(&mut vec![0; usize::from(head[1])])?;
    client.write_all(&[5, 0])?;
    let mut request = [0; 4];
    client.read_exact(&mut request)?;
    let target = read_address(&mut client, request[3])?;
    if let Manner::Refuses(rep) = shared.manner {
        client.write_all(&[5, rep, 0, 1, 0, 0, 0, 0, 0, 0])?;
        // A close with the client's bytes unread would be a reset.
        client.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    if request[1] == 3 {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let port = socket.local_addr()?.port();
        let bound: &[u8] = match shared.manner {
            Manner::SaysAnywhere => &[1, 0, 0, 0, 0],
            Manner::SaysMapped => &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1],
            Manner::SaysElsewhere => &[1, 192, 0, 2, 1],
            _ => &[1, 127, 0, 0, 1],
        };
        client.write_all(&[&[5, 0, 0], bound, &port.to_be_bytes()].concat())?;
        return relay_datagrams(client, &socket, shared);
    }
    let upstream = TcpStream::connect(target)?;
    upstream.set_nodelay(true)?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1])?;
    let ended = relay_stream(&client, &upstream, shared);
    if ended.is_err() {
        reset(client);
        reset(upstream);
    }
    ended
}

fn read_address(client: &mut TcpStream, kind: u8) -> io::Result<SocketAddr> {
    let ip: IpAddr = match kind {
        1 => {
            let mut bytes = [0; 4];
            client.read_exact(&mut bytes)?;
            bytes.into()
        }
        3 => {
            let mut len = [0];
            client.read_exact(&mut len)?;
            let mut name = vec![0; usize::from(len[0])];
            client.read_exact(&mut name)?;
            assert_eq!(name, b"localhost", "the only name there is");
            Ipv4Addr::LOCALHOST.into()
        }
        other => return Err(io::Error::other(format!("address type {other}"))),
    };
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    Ok(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

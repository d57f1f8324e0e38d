//! A SOCKS5 server of a few lines, a thread for each client, that asks a name server, judges logins, and answers pages
//! itself. Bytes are read and written by hand.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Everybody's.
pub(crate) const PASSWORD: &str = "myPassword";
/// How long a name is waited for.
const NAME_TIME: Duration = Duration::from_millis(250);
/// How long an address is.
const DIAL_TIME: Duration = Duration::from_millis(150);
/// How late a late answer is.
const LATE: Duration = Duration::from_millis(700);
/// How long ports are looked for, for BIND to a name.
const BIND_TIME: Duration = Duration::from_millis(50);
/// The port of a target that is not called.
pub(crate) const NO_PORT: u16 = 258;
/// What judging a login takes.
const JUDGING_TIME: Duration = Duration::from_millis(5);

/// How it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everybody by himself.
    Good,
    /// Resolves, dials and judges for one client at a time, even if he has left.
    OneAtATime,
    /// Answers requests with REP 1.
    Refuses,
    /// Says at once that a login is right, and late that it is wrong.
    WrongIsLate,
    /// Says both late, but of the first user.
    BothAreLate,
    /// Refuses tokens while it holds so many that are not complete.
    HoldsTokens(u32),
}

struct Shared {
    manner: Manner,
    dns: Option<SocketAddr>,
    turn: Mutex<()>,
    names: Mutex<Vec<String>>,
    users: Mutex<Vec<String>>,
    sources: Mutex<HashSet<IpAddr>>,
    dialled: Mutex<u32>,
    bound: Mutex<u32>,
    tokens: Mutex<u32>,
}

/// A server on a port of its own, for as long as the test's process lives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub(crate) fn start(manner: Manner, dns: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            manner,
            dns,
            turn: Mutex::default(),
            names: Mutex::default(),
            users: Mutex::default(),
            sources: Mutex::default(),
            dialled: Mutex::default(),
            bound: Mutex::default(),
            tokens: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&state);
                // A client that leaves is no matter of this server's.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    /// Every name that was to be called.
    pub(crate) fn names(&self) -> Vec<String> {
        self.shared.names.lock().expect("whole").clone()
    }

    /// Whoever logged in, right or wrong.
    pub(crate) fn users(&self) -> Vec<String> {
        self.shared.users.lock().expect("whole").clone()
    }

    /// How many addresses clients came from.
    pub(crate) fn sources(&self) -> usize {
        self.shared.sources.lock().expect("whole").len()
    }

    /// How many addresses that were called answered a SYN.
    pub(crate) fn dialled(&self) -> u32 {
        *self.shared.dialled.lock().expect("whole")
    }

    /// How many BIND requests named an address.
    pub(crate) fn bound(&self) -> u32 {
        *self.shared.bound.lock().expect("whole")
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        self.sources.lock().expect("whole").insert(client.peer_addr()?.ip());
        let [5, count] = take(&mut client)? else { return Ok(()) };
        let mut methods = vec![0; count.into()];
        client.read_exact(&mut methods)?;
        let method = methods[0];
        client.write_all(&[5, method])?;
        match method {
            1 => return self.take_token(&mut client),
            2 if !self.log_in(&mut client)? => return Ok(()),
            _ => {}
        }
        let [_, command, _, kind] = take(&mut client)?;
        let name = match kind {
            1 => take::<4>(&mut client).map(|_| None)?,
            _ => Some(text(&mut client)?),
        };
        let port = u16::from_be_bytes(take(&mut client)?);
        let turn = self.turn();
        let rep = match (command, name) {
            (2, name) => self.bind(name.as_deref()),
            (_, None) if port == NO_PORT => 0,
            (_, None) => return self.call_and_wait(client, port),
            (_, Some(name)) => self.call(name, port),
        };
        drop(turn);
        let rep = if self.manner == Manner::Refuses { 1 } else { rep };
        client.write_all(&[5, rep, 0, 1, 127, 0, 0, 1, 0, 80])?;
        if rep == 0 && command == 1 {
            let length = page_length(&mut client)?;
            client.write_all(&(0..length).map(|at| (at % 251) as u8).collect::<Vec<u8>>())?;
        }
        client.read_to_end(&mut Vec::new()).map(drop)
    }

    fn turn(&self) -> Option<std::sync::MutexGuard<'_, ()>> {
        (self.manner == Manner::OneAtATime).then(|| self.turn.lock().expect("whole"))
    }

    fn log_in(&self, client: &mut TcpStream) -> io::Result<bool> {
        take::<1>(client)?;
        let (user, password) = (text(client)?, text(client)?);
        let right = password == PASSWORD;
        let late = match self.manner {
            Manner::WrongIsLate => !right,
            Manner::BothAreLate => user != "u0",
            _ => false,
        };
        self.users.lock().expect("whole").push(user);
        let turn = self.turn();
        thread::sleep(if late { LATE } else { JUDGING_TIME });
        drop(turn);
        client.write_all(&[1, u8::from(!right)])?;
        Ok(right)
    }

    /// Refuses a token, in the end or, with too many others that are not whole, at once.
    fn take_token(&self, client: &mut TcpStream) -> io::Result<()> {
        let [_, _, high, low] = take(client)?;
        let others = {
            let mut tokens = self.tokens.lock().expect("whole");
            *tokens += 1;
            *tokens - 1
        };
        let read = match self.manner {
            Manner::HoldsTokens(most) if others >= most => Ok(()),
            _ => client.read_exact(&mut vec![0; u16::from_be_bytes([high, low]).into()]),
        };
        *self.tokens.lock().expect("whole") -= 1;
        read?;
        client.write_all(&[1, 0xFF])?;
        client.read_to_end(&mut Vec::new()).map(drop)
    }

    /// A port is there for an address, and none for a name.
    fn bind(&self, name: Option<&str>) -> u8 {
        match name {
            None => {
                *self.bound.lock().expect("whole") += 1;
                0
            }
            Some(_) => {
                thread::sleep(BIND_TIME);
                1
            }
        }
    }

    /// Keeps both connections until the target ends, whatever the client does.
    fn call_and_wait(&self, mut client: TcpStream, port: u16) -> io::Result<()> {
        let mut target = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        *self.dialled.lock().expect("whole") += 1;
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80])?;
        target.read_to_end(&mut Vec::new()).map(drop)
    }

    /// REP for a name.
    fn call(&self, name: String, port: u16) -> u8 {
        let resolved = self.resolve(&name);
        self.names.lock().expect("whole").push(name);
        // The target's own address stands for its pages.
        let addresses = resolved.unwrap_or_default();
        if addresses == [Ipv4Addr::LOCALHOST] {
            return 0;
        }
        for address in addresses {
            if TcpStream::connect_timeout(&(address, port).into(), DIAL_TIME).is_ok() {
                *self.dialled.lock().expect("whole") += 1;
            }
        }
        4
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<Ipv4Addr>> {
        let mut query = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(NAME_TIME))?;
        socket.send_to(&query, self.dns.expect("a name server"))?;
        let mut answer = [0; 1500];
        let length = socket.recv(&mut answer)?;
        assert_eq!(answer[..4], [0xAB, 0xCD, 0x81, 0x80], "an answer, and without error");
        let records = answer[query.len()..length].chunks(16);
        Ok(records.map(|record| Ipv4Addr::new(record[12], record[13], record[14], record[15])).collect())
    }
}

fn take<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// One octet of length, and as many of text.
fn text(client: &mut TcpStream) -> io::Result<String> {
    let [length] = take(client)?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// LENGTH of `GET /LENGTH`.
fn page_length(client: &mut TcpStream) -> io::Result<usize> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(take::<1>(client)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.strip_prefix("GET /").and_then(|path| path.split(' ').next()?.parse().ok());
    length.ok_or_else(|| io::Error::other("no page"))
}

//! Parents that write their bytes by hand: proxies that lead every session to one target, whatever they are asked for.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::origin::{Origin, V4};
use super::relay::Builder;
use super::wait::PATIENCE;

/// What a parent was told over one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// What stood in front of all else: a PROXY header.
    pub(crate) header: String,
    /// The name and the password.
    pub(crate) login: Option<(Vec<u8>, Vec<u8>)>,
    /// The host as it was told, and the port.
    pub(crate) target: String,
}

/// What the parent says that its side of the tunnel is.
pub(crate) const BOUND: [u8; 10] = [5, 0, 0, 1, 192, 0, 2, 9, 0x12, 0x34];

/// A parent and what it was told.
pub(crate) struct FakeParent {
    origin: Origin,
    told: Arc<Mutex<Vec<Told>>>,
}

/// What a parent speaks, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Asks for a login where it is offered.
    pub(crate) asks_login: bool,
    /// Expects a line of the PROXY protocol.
    pub(crate) headed: bool,
    /// Sends each byte of its handshake by itself.
    pub(crate) slow: bool,
}

impl FakeParent {
    /// SOCKS5, leading to this target.
    pub(crate) fn socks5(target: SocketAddr) -> Self {
        Self::socks5_with(target, Habits::default())
    }

    pub(crate) fn socks5_with(target: SocketAddr, habits: Habits) -> Self {
        Self::serve(move |stream, told| socks5(stream, target, habits, told))
    }

    /// SOCKS4a.
    pub(crate) fn socks4a(target: SocketAddr) -> Self {
        Self::serve(move |mut stream, told| {
            let [4, 1, high, low, ip @ ..] = read::<8>(&mut stream)? else { return refused("a request") };
            let user = until_nul(&mut stream)?;
            let host = match ip {
                [0, 0, 0, 1] => String::from_utf8_lossy(&until_nul(&mut stream)?).into_owned(),
                ip => IpAddr::from(ip).to_string(),
            };
            let login = (!user.is_empty()).then(|| (user, Vec::new()));
            let target_told = format!("{host}:{}", u16::from_be_bytes([high, low]));
            note(told, Told { login, target: target_told, ..Told::default() });
            stream.write_all(&[0, 90, 0, 0, 0, 0, 0, 0])?;
            lead(stream, target)
        })
    }

    /// CONNECT of HTTP.
    pub(crate) fn http(target: SocketAddr) -> Self {
        Self::serve(move |mut stream, told| {
            let head = head(&mut stream)?;
            let asked = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let basic = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: Basic "));
            let login = basic.map(|basic| (basic.as_bytes().to_vec(), Vec::new()));
            note(told, Told { login, target: asked, ..Told::default() });
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nX-Any: thing\r\n\r\n")?;
            lead(stream, target)
        })
    }

    /// SOCKS5 at an address where another one was.
    pub(crate) fn socks5_at(at: SocketAddr, target: SocketAddr) -> Self {
        Self::serve_at(at, move |stream, told| socks5(stream, target, Habits::default(), told))
    }

    /// One that does this with each connection.
    pub(crate) fn serve<F>(behaviour: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<Told>>) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::serve_at(SocketAddr::new(V4, 0), behaviour)
    }

    /// The same at this address.
    pub(crate) fn serve_at<F>(at: SocketAddr, behaviour: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<Told>>) -> io::Result<()> + Send + Sync + 'static,
    {
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let shared = Arc::clone(&told);
        let origin = Origin::serve_at(at, move |stream| {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_read_timeout(Some(PATIENCE));
            // One that goes wrong is seen by the session that it was for.
            let _ = behaviour(stream, &shared);
        });
        Self { origin, told }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.origin.addr
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.origin.accepted()
    }

    /// What it was told, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("told").clone()
    }

    /// The only thing that it was told.
    pub(crate) fn told_once(&self) -> Told {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }
}

/// Has every session go through the parent "up", of these servers and with these keys.
pub(crate) fn through(builder: Builder, servers: &[String], keys: &[(&str, &str)]) -> Builder {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    let builder = builder
        .set("[parent]", "name", "\"up\"")
        .set("[parent]", "servers", &format!("[{}]", servers.join(", ")))
        .rules(&["name = \"led\"\naction = \"allow\"\nparent = \"up\""]);
    keys.iter().fold(builder, |builder, (key, value)| builder.set("[parent]", key, value))
}

fn note(told: &Mutex<Vec<Told>>, one: Told) {
    told.lock().expect("told").push(one);
}

/// The handshake of SOCKS5, and the tunnel behind it.
fn socks5(
    mut stream: TcpStream,
    target: SocketAddr,
    habits: Habits,
    told: &Mutex<Vec<Told>>,
) -> io::Result<()> {
    let header = if habits.headed { line(&mut stream)? } else { String::new() };
    let [5, methods] = read::<2>(&mut stream)? else { return refused("a greeting") };
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered)?;
    let login = if habits.asks_login && offered.contains(&2) {
        say(&mut stream, &[5, 2], habits)?;
        let [1, length] = read::<2>(&mut stream)? else { return refused("a login") };
        let mut user = vec![0; usize::from(length)];
        stream.read_exact(&mut user)?;
        let [length] = read::<1>(&mut stream)?;
        let mut password = vec![0; usize::from(length)];
        stream.read_exact(&mut password)?;
        say(&mut stream, &[1, 0], habits)?;
        Some((user, password))
    } else {
        say(&mut stream, &[5, 0], habits)?;
        None
    };
    let asked = request(&mut stream)?;
    note(told, Told { header, login, target: asked });
    say(&mut stream, &BOUND, habits)?;
    lead(stream, target)
}

/// Reads a request of SOCKS5; the host as it stands there, and the port.
pub(crate) fn request(stream: &mut TcpStream) -> io::Result<String> {
    let [5, 1, 0, kind] = read::<4>(stream)? else { return Err(refused("a request").unwrap_err()) };
    let host = match kind {
        1 => IpAddr::from(read::<4>(stream)?).to_string(),
        4 => format!("[{}]", IpAddr::from(read::<16>(stream)?)),
        _ => {
            let [length] = read::<1>(stream)?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    Ok(format!("{host}:{}", u16::from_be_bytes(read::<2>(stream)?)))
}

/// Reads the greeting of a client that has no login, and lets it in.
pub(crate) fn greet(stream: &mut TcpStream) -> io::Result<()> {
    let [5, 1, 0] = read::<3>(stream)? else { return refused("a greeting") };
    stream.write_all(&[5, 0])
}

fn say(stream: &mut TcpStream, bytes: &[u8], habits: Habits) -> io::Result<()> {
    if !habits.slow {
        return stream.write_all(bytes);
    }
    bytes.iter().try_for_each(|byte| stream.write_all(&[*byte]))
}

/// Moves bytes both ways between a client and this target.
pub(crate) fn lead(client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let upstream = TcpStream::connect(target)?;
    client.set_read_timeout(None)?;
    let (mut from_client, mut to_upstream) = (client.try_clone()?, upstream.try_clone()?);
    let up = thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_upstream);
        let _ = to_upstream.shutdown(Shutdown::Write);
    });
    let (mut from_upstream, mut to_client) = (upstream, client);
    let _ = io::copy(&mut from_upstream, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Write);
    let _ = up.join();
    Ok(())
}

fn read<const COUNT: usize>(stream: &mut TcpStream) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn until_nul(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        match read::<1>(stream)? {
            [0] => return Ok(bytes),
            [byte] => bytes.push(byte),
        }
    }
}

fn line(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        bytes.extend(read::<1>(stream)?);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.extend(read::<1>(stream)?);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn refused(what: &str) -> io::Result<()> {
    Err(io::Error::other(format!("no {what} of a client")))
}

//! Servers as processes: found or absent, started on their CPU, listening or not.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::compare::place::{self, Values, Word};
use crate::compare::plan::{Server, ServerKind};
use crate::compare::warden::{Charge, Interrupted, Warden};

/// How often a starting server is tried.
const RETRY: Duration = Duration::from_millis(10);
/// One try; loopback answers at once or never.
const TRY: Duration = Duration::from_millis(500);
/// Ports are taken from here to where the kernel's own choice begins, so that no outgoing connection of
/// ours sits on one when its server comes to bind it.
const FIRST_PORT: u16 = 10_000;
/// A prime that takes neighbours far from each other.
const SPREAD: u32 = 7919;
/// Lines of a log that are shown, and characters of each.
const TAIL_LINES: usize = 4;
const TAIL_CHARS: usize = 200;

/// Ports for servers, none handed out twice before all have been.
pub(crate) struct Ports {
    next: u16,
    end: u16,
}

impl Ports {
    pub(crate) fn new() -> Self {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let lowest = range.split_ascii_whitespace().next().and_then(|text| text.parse().ok());
        let end = lowest.filter(|&end: &u16| end > FIRST_PORT + 1000).unwrap_or(32_768);
        // Comparisons that begin one after the other have neighbouring numbers: their ports lie apart.
        let offset = std::process::id().wrapping_mul(SPREAD) % u32::from(end - FIRST_PORT);
        Self { next: FIRST_PORT + offset as u16, end }
    }

    /// One that nobody is bound to now, for TCP and UDP.
    pub(crate) fn take(&mut self) -> io::Result<u16> {
        for _ in FIRST_PORT..self.end {
            let port = self.next;
            self.next = if port + 1 < self.end { port + 1 } else { FIRST_PORT };
            let at = (Ipv4Addr::LOCALHOST, port);
            if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port"))
    }
}

/// The program of a command: a path, or a name on the PATH or where system and cargo put servers.
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return fs::canonicalize(program).ok().filter(runs);
    }
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].into_iter().map(PathBuf::from);
    let mut folders = env::split_paths(&path).chain(more).chain(cargo.map(|folder| folder.join("bin")));
    folders.find_map(|folder| Some(folder.join(program)).filter(runs))
}

/// What a start needs besides the server itself.
pub(crate) struct Site<'a> {
    pub(crate) warden: &'a Warden,
    pub(crate) cpu: usize,
    pub(crate) bin: &'a str,
    /// Where the certificate lies.
    pub(crate) tls: &'a Path,
    /// Absolute; made anew.
    pub(crate) dir: PathBuf,
    pub(crate) services: &'a BTreeMap<String, SocketAddr>,
}

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) charge: Charge,
    pub(crate) values: Values,
    /// The command as it was run.
    pub(crate) command: Vec<String>,
    dir: PathBuf,
}

/// Why a server did not come up.
pub(crate) enum NoStart {
    Interrupted(Interrupted),
    /// Its own fault, with the end of its log.
    Failed(String, Vec<String>),
    /// Ours: files, ports.
    Own(io::Error),
}

impl From<io::Error> for NoStart {
    fn from(error: io::Error) -> Self {
        Self::Own(error)
    }
}

impl Running {
    /// Starts `server` from `program` and waits until it listens.
    pub(crate) fn start(
        server: &Server,
        program: &Path,
        site: Site<'_>,
        ports: &mut Ports,
    ) -> Result<Self, NoStart> {
        let values = values(server, &site, ports)?;
        if site.dir.exists() {
            fs::remove_dir_all(&site.dir)?;
        }
        fs::create_dir_all(&site.dir)?;
        for (name, text) in &server.files {
            fs::write(site.dir.join(name.get_ref()), values.expand(text))?;
        }
        let mut command = vec![program.display().to_string()];
        command.extend(server.command.get_ref()[1..].iter().map(|word| values.expand(word)));
        let log = File::create(if server.discard_output { "/dev/null".into() } else { log_of(&site.dir) })?;
        let mut process = Command::new(program);
        process.args(&command[1..]).current_dir(&site.dir);
        process.envs(server.env.iter().map(|(name, value)| (name, values.expand(value))));
        process.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        let charge = site
            .warden
            .spawn(&mut process, Some(site.cpu))
            .map_err(|error| NoStart::Failed(format!("cannot be started: {error}"), Vec::new()))?;
        let running = Self { charge, values, command, dir: site.dir };
        match running.await_listening(server, site.warden) {
            Ok(()) => Ok(running),
            Err(reason) => {
                site.warden.end(&running.charge);
                Err(reason)
            }
        }
    }

    fn await_listening(&self, server: &Server, warden: &Warden) -> Result<(), NoStart> {
        let until = Instant::now() + Duration::from_secs_f64(server.startup);
        for address in self.addresses(server) {
            while TcpStream::connect_timeout(&address, TRY).is_err() {
                if let Some(end) = self.charge.end() {
                    return Err(NoStart::Failed(
                        format!("ended before it listened ({end})"),
                        self.log_tail(),
                    ));
                }
                if Instant::now() >= until {
                    let reason = format!("did not listen on {address} within {} s", server.startup);
                    return Err(NoStart::Failed(reason, self.log_tail()));
                }
                warden.nap(RETRY).map_err(NoStart::Interrupted)?;
            }
        }
        Ok(())
    }

    fn addresses(&self, server: &Server) -> Vec<SocketAddr> {
        match server.kind {
            ServerKind::Proxy | ServerKind::Variant => {
                let used = |port: Word<'_>| {
                    server.texts().flat_map(place::words).any(|word| Word::parse(word) == Ok(port))
                };
                let ports = [(Word::Port, false), (Word::TlsPort, true)];
                ports
                    .iter()
                    .filter(|(port, _)| used(*port))
                    .map(|(_, under_tls)| self.address(*under_tls))
                    .collect()
            }
            ServerKind::TcpRelay => self.values.fronts.values().copied().collect(),
        }
    }

    /// Where a proxy accepts.
    pub(crate) fn address(&self, under_tls: bool) -> SocketAddr {
        let port = if under_tls { self.values.tls_port } else { self.values.port };
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
    }

    /// The last lines that it wrote.
    pub(crate) fn log_tail(&self) -> Vec<String> {
        tail(&log_of(&self.dir))
    }
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// The last lines of a file, cut to what fits a screen.
pub(crate) fn tail(file: &Path) -> Vec<String> {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let clean = |line: &&str| line.chars().filter(|c| !c.is_control()).take(TAIL_CHARS).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(clean).collect()
}

/// Whether a relay has a front for `service`.
pub(crate) fn fronts(server: &Server) -> impl Iterator<Item = &str> {
    server.texts().flat_map(place::words).filter_map(|word| match Word::parse(word) {
        Ok(Word::Front(service)) => Some(service),
        _ => None,
    })
}

fn values(server: &Server, site: &Site<'_>, ports: &mut Ports) -> io::Result<Values> {
    let mut taken = BTreeMap::new();
    for service in fronts(server) {
        if !taken.contains_key(service) {
            taken.insert(service.to_owned(), SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports.take()?));
        }
    }
    Ok(Values {
        port: ports.take()?,
        tls_port: ports.take()?,
        tls: site.tls.display().to_string(),
        dir: site.dir.display().to_string(),
        bin: site.bin.to_owned(),
        services: site.services.clone(),
        fronts: taken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(locate("sh").is_some_and(|path| path.is_absolute()));
        assert!(locate("/bin/sh").is_some());
        assert!(locate("/etc/passwd").is_none(), "not executable");
        assert!(locate("no-such-server-anywhere").is_none());
    }

    #[test]
    fn ports_do_not_repeat() {
        let mut ports = Ports::new();
        let taken: Vec<u16> = (0..50).map(|_| ports.take().expect("a free port")).collect();
        assert!(taken.iter().enumerate().all(|(at, port)| !taken[..at].contains(port)));
    }
}

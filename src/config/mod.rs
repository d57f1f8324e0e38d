//! What was typed becomes a validated, immutable Config.
//!
//! A file and the flags are first read as they were typed, each value with the place it came from
//! (`raw`), then turned into a [`Config`] in which nothing is left to check (`validate`). Problems are
//! collected, not thrown: whoever edits a file sees all of them at once, each on its own line.
//!
//! Nothing here opens a socket or reads any file but the configuration itself.

mod choice;
mod dns64;
mod endpoint;
mod places;
mod print;
mod problem;
mod raw;
mod reach;
mod schema;
mod syntax;
mod validate;
mod value;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

pub use choice::{
    AuthMethod, Choice, Congestion, Filtering, Format, Level, OnFull, Prefer, Protection, ProtectionLevel,
    RelayMode, Steer,
};
pub use dns64::Dns64;
pub use endpoint::Endpoint;
pub use places::Places;
pub use problem::Problems;
pub use raw::Flags;
pub use reach::{Advertise, PortRange};

use crate::limits;
use problem::At;
use validate::Draft;

/// Everything that can be configured, checked and with its defaults filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Listeners, workers and the relay engine.
    pub server: Server,
    /// How long each phase of a session may take.
    pub timeouts: Timeouts,
    /// Which SOCKS methods are offered, and who may log in.
    pub auth: Auth,
    /// How names are resolved.
    pub dns: Dns,
    /// Exemptions from the refusal of special-purpose destinations.
    pub guard: GuardConfig,
    /// Where the peers of BIND sessions connect to.
    pub bind: Bind,
    /// Where the datagrams of associations go.
    pub udp: Udp,
    /// What each source of connections may have.
    pub per_source: PerSource,
    /// The log and the access record.
    pub log: Log,
    /// Where all that was typed.
    pub places: Places,
}

/// The `[server]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Addresses to accept clients on, never empty, no two alike but for port 0, which asks the kernel
    /// for a free port. Default: 127.0.0.1:1080.
    pub listen: Vec<Endpoint>,
    /// Worker threads, at least one. 0 as typed, the default, has become one per available CPU.
    pub workers: usize,
    /// Each worker keeps to one CPU. Default: true.
    pub pin: bool,
    /// The engine that moves CONNECT bytes. Default: auto.
    pub relay: RelayMode,
    /// Sessions at once, shared evenly by the workers, of which there are no more; 0, the default, derives the ceiling from the fd limit.
    pub max_connections: usize,
    /// Connections that the kernel queues for each listener. Default: 4096.
    pub backlog: u32,
    /// How long a worker polls without sleeping before it waits. Default: zero, it sleeps at once.
    pub busy_poll: Duration,
    /// Permits a listener that anyone may reach and use without a password. Default: false.
    pub open_proxy: bool,
    /// How a new connection finds its worker. Default: hash.
    pub steer: Steer,
    /// The congestion control of clients' and targets' sockets. Default: auto.
    pub congestion: Congestion,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1080)).into()],
            workers: available_cpus(),
            pin: true,
            relay: RelayMode::Auto,
            max_connections: 0,
            backlog: 4096,
            busy_poll: Duration::ZERO,
            open_proxy: false,
            steer: Steer::Hash,
            congestion: Congestion::Auto,
        }
    }
}

/// The `[timeouts]` table. Every one is at least a millisecond.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// From accept to the end of the request, absolute. Default: 10 s.
    pub handshake: Duration,
    /// For all attempts to reach the target together. Default: 15 s.
    pub connect: Duration,
    /// A relay without a byte in either direction ends after this. Default: 7440 s (RFC 5382 REQ-5).
    pub idle: Duration,
    /// A relay with one direction closed and no byte in the other ends after this. Default: 240 s.
    pub half_close: Duration,
    /// How long live sessions may go on after a request to stop. Default: 30 s.
    pub drain: Duration,
    /// For the answer to one name, over all servers. Default: 5 s.
    pub dns: Duration,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT). Default: 300 s.
    pub unacked: Duration,
    /// How long a BIND session waits for its peer. Default: 60 s.
    pub bind: Duration,
    /// An association without a datagram in either direction ends after this. Default: 300 s (RFC 4787 REQ-5).
    pub udp_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(7440),
            half_close: Duration::from_secs(240),
            drain: Duration::from_secs(30),
            dns: Duration::from_secs(5),
            unacked: Duration::from_secs(300),
            bind: Duration::from_secs(60),
            udp_idle: Duration::from_secs(300),
        }
    }
}

/// The `[auth]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Methods in order of preference, never empty, none twice. Default: none alone.
    pub methods: Vec<AuthMethod>,
    /// The users file, absolute; always there when `methods` has password. Default: absent.
    pub users: Option<PathBuf>,
    /// How clients of method gssapi are met; of no effect without it.
    pub gssapi: Gssapi,
}

impl Default for Auth {
    fn default() -> Self {
        Auth { methods: vec![AuthMethod::None], users: None, gssapi: Gssapi::default() }
    }
}

/// The `[auth.gssapi]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Gssapi {
    /// The file with the service's keys, absolute. Default: /etc/krb5.keytab.
    pub keytab: PathBuf,
    /// The service that clients ask the KDC for, "NAME" or "NAME@HOST" (RFC 1961 section 3.2). Default: rcmd.
    pub service: String,
    /// The levels that a client may have. Default: confidentiality, integrity, none.
    pub protection: Protection,
    /// The level is also taken unwrapped, in one octet, as the NEC reference sends it. Default: false.
    pub nec: bool,
}

impl Default for Gssapi {
    fn default() -> Self {
        Gssapi {
            keytab: PathBuf::from("/etc/krb5.keytab"),
            service: "rcmd".to_owned(),
            protection: Protection::default(),
            nec: false,
        }
    }
}

/// The `[dns]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// Servers to ask, in order; empty, the default, means those of resolv.conf.
    pub servers: Vec<Endpoint>,
    /// The hosts file is consulted first. Default: true.
    pub hosts: bool,
    /// Names that the cache holds, over all workers, at least one. Default: 65536.
    pub cache_entries: usize,
    /// Which address family is dialled first. Default: happy-eyeballs.
    pub prefer: Prefer,
    /// Which NAT64 prefixes there are, whose addresses are judged by what they carry. Default: auto.
    pub dns64: Dns64,
}

impl Default for Dns {
    fn default() -> Self {
        Dns {
            servers: Vec::new(),
            hosts: true,
            cache_entries: 65_536,
            prefer: Prefer::HappyEyeballs,
            dns64: Dns64::Auto,
        }
    }
}

/// The `[guard]` table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardConfig {
    /// Blocks exempt from the refusal of special-purpose destinations. Default: none.
    pub allow: Vec<IpNet>,
    /// Exempts every special-purpose destination. Default: false.
    pub allow_private: bool,
}

/// The `[bind]` table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bind {
    /// The ports to listen on; absent, the default, means any that the kernel gives.
    pub ports: Option<PortRange>,
    /// The addresses that clients are told, where they are not those we listen on. Default: none.
    pub advertise: Advertise,
}

/// The `[udp]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Udp {
    /// The ports at which clients send; absent, the default, means any that the kernel gives.
    pub ports: Option<PortRange>,
    /// The addresses that clients are told, where they are not those we receive on. Default: none.
    pub advertise: Advertise,
    /// Fragments are put together (RFC 1928 section 7); without, they are dropped. Default: true.
    pub fragments: bool,
    /// Who may send to a client. Default: address.
    pub filtering: Filtering,
}

impl Default for Udp {
    fn default() -> Self {
        Udp { ports: None, advertise: Advertise::default(), fragments: true, filtering: Filtering::Address }
    }
}

/// The `[limits.per_source]` table: a source is an IPv4 address or an IPv6 /64.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PerSource {
    /// Sessions of one source at a time, over all workers; 0, the default, means as many as come.
    pub connections: usize,
}

/// The `[log]` table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// The least grave message that is written. Default: info.
    pub level: Level,
    /// Text for people or JSON for machines. Default: text.
    pub format: Format,
    /// Where access records go. Default: off.
    pub access: Access,
    /// What happens where they find no room. Default: drop.
    pub on_full: OnFull,
    /// Associations leave a record for each of their targets, too. Default: false.
    pub udp_targets: bool,
}

/// Where access records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// Appended to this file (absolute).
    Path(PathBuf),
}

impl Config {
    /// Reads `file`, if there is one, and lays `flags` over it.
    ///
    /// Paths in the file are relative to its folder, paths in flags to the working directory.
    ///
    /// # Errors
    /// Everything that is wrong with either, or that the file cannot be read.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Config, Problems> {
        match file {
            Some(file) => Config::parse(&read(file)?, file, flags),
            None => finish(Draft::default(), flags),
        }
    }

    /// The same from text; `file` names it in messages, and its folder is where relative paths start.
    ///
    /// # Errors
    /// Everything that is wrong with the text or the flags.
    pub fn parse(text: &str, file: &Path, flags: &Flags) -> Result<Config, Problems> {
        let mut draft = Draft::new(Problems::of(file));
        let raw = raw::from_text(text, draft.problems());
        draft.lay(&raw, file.parent().unwrap_or(Path::new("")));
        finish(draft, flags)
    }

    /// The whole configuration as TOML, every key written out; parsing it gives this value again.
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }
}

/// Lays the flags over everything else.
fn finish(mut draft: Draft, flags: &Flags) -> Result<Config, Problems> {
    let raw = raw::from_flags(flags, draft.problems());
    draft.lay(&raw, Path::new(""));
    draft.finish()
}

/// Reads the file as text, refusing one that is too large to be a configuration.
fn read(file: &Path) -> Result<String, Problems> {
    let fail = |at, what| {
        let mut problems = Problems::of(file);
        problems.push(at, what);
        Err(problems)
    };
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|f| f.take(limits::MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        return fail(At::File, format!("cannot be read: {error}"));
    }
    if bytes.len() as u64 > limits::MAX_CONFIG_BYTES {
        return fail(At::File, format!("larger than {} bytes", limits::MAX_CONFIG_BYTES));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
            fail(At::Line(line), "not UTF-8".to_owned())
        }
    }
}

/// CPUs that this process may run on; one when that cannot be known.
fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get()).min(limits::MAX_WORKERS as usize)
}

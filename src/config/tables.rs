//! Every table of the configuration with its keys: the fields, their defaults, how they are typed and what they are for.
//!
//! A key is added by a line of its own here and nowhere else; what it says in docs/keys.md is written from it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::choice::{
    Access, AuthMethod, Congestion, Filtering, Format, Level, OnFull, OnReload, Prefer, Protection,
    RelayMode, Steer,
};
use super::dns64::{self, Dns64};
use super::egress_table::EgressConfig;
use super::endpoint::Endpoint;
use super::entry::{TableEntry, tables};
use super::form::{choice, duration, number, optional, path, place, shown, switch, text};
use super::list_form::{choices, condition, list};
use super::listen_address::{self, ListenAddress};
use super::listener_table::ListenerConfig;
use super::parent_table::ParentConfig;
use super::places::Places;
use super::proxy_table::ProxyOutConfig;
use super::quotas::{self, QuotaConfig};
use super::rates;
use super::reach::{self, Advertise, PortRange};
use super::rule_table::RuleConfig;
use super::rule_values;
use super::sandbox_table::{self, SandboxConfig};
use super::tor::TorConfig;
use super::username_table::UsernameConfig;
use super::value::{self, setup};
use crate::limits;
use crate::policy::accounts::{BurstRate, OnReached, Per};
use crate::policy::rules::spec::{Action, Logged, NamePattern};

/// Everything that can be configured, checked and with its defaults filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Listeners, workers and the relay engine.
    pub server: ServerConfig,
    /// Listeners that have settings of their own, beside those of `server.listen`: see [`Config::all_listeners`].
    pub listeners: Vec<ListenerConfig>,
    /// How long each phase of a session may take.
    pub timeouts: Timeouts,
    /// Which SOCKS methods are offered, and who may log in.
    pub auth: AuthConfig,
    /// How names are resolved.
    pub dns: Dns,
    /// Exemptions from the refusal of special-purpose destinations.
    pub guard: GuardConfig,
    /// Where the peers of BIND sessions connect to.
    pub bind: Bind,
    /// Where the datagrams of associations go.
    pub udp: UdpConfig,
    /// Tor's extensions to SOCKS.
    pub tor: TorConfig,
    /// Who may go where: what holds for all rules.
    pub policy: PolicyConfig,
    /// Users by the groups that they are in.
    pub groups: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Destinations that rules name together.
    pub lists: Vec<ListConfig>,
    /// Who may go where, in the order in which it is asked.
    pub rules: Vec<RuleConfig>,
    /// What subjects of a limit may have, where a rule names it.
    pub limits: Vec<LimitConfig>,
    /// What each user may have.
    pub per_user: PerUser,
    /// What each source of connections may have.
    pub per_source: PerSource,
    /// Pools of addresses that sessions leave from.
    pub egress: Vec<EgressConfig>,
    /// Parameters of sessions in what clients log in with.
    pub username: UsernameConfig,
    /// How HTTP is spoken.
    pub http: HttpConfig,
    /// Targets that are told of their clients.
    pub proxy_out: Vec<ProxyOutConfig>,
    /// Proxies that sessions are led through.
    pub parents: Vec<ParentConfig>,
    /// The log and the access record.
    pub log: Log,
    /// The admin endpoint.
    pub admin: AdminConfig,
    /// What the server keeps itself from.
    pub sandbox: SandboxConfig,
    /// Where all that was typed.
    pub places: Places,
}

/// The tables that there are, in the order of the documentation.
pub(super) fn all() -> Vec<TableEntry<Config>> {
    vec![
        TableEntry::once("server", |config| &config.server, |config| &mut config.server),
        TableEntry::many("listener", |config| &config.listeners, |config| &mut config.listeners),
        TableEntry::once("timeouts", |config| &config.timeouts, |config| &mut config.timeouts),
        TableEntry::once("auth", |config| &config.auth, |config| &mut config.auth),
        TableEntry::once("auth.gssapi", |config| &config.auth.gssapi, |config| &mut config.auth.gssapi),
        TableEntry::once("dns", |config| &config.dns, |config| &mut config.dns),
        TableEntry::once("guard", |config| &config.guard, |config| &mut config.guard),
        TableEntry::once("bind", |config| &config.bind, |config| &mut config.bind),
        TableEntry::once("udp", |config| &config.udp, |config| &mut config.udp),
        TableEntry::once("tor", |config| &config.tor, |config| &mut config.tor),
        TableEntry::once("policy", |config| &config.policy, |config| &mut config.policy),
        groups(),
        TableEntry::many("list", |config| &config.lists, |config| &mut config.lists),
        TableEntry::many("rule", |config| &config.rules, |config| &mut config.rules),
        TableEntry::of_tables("limits"),
        TableEntry::once("limits.per_source", |config| &config.per_source, |config| &mut config.per_source),
        TableEntry::once("limits.per_user", |config| &config.per_user, |config| &mut config.per_user),
        TableEntry::many("limit", |config| &config.limits, |config| &mut config.limits),
        TableEntry::many("egress", |config| &config.egress, |config| &mut config.egress),
        TableEntry::once("username", |config| &config.username, |config| &mut config.username),
        TableEntry::once("http", |config| &config.http, |config| &mut config.http),
        TableEntry::many("proxy_out", |config| &config.proxy_out, |config| &mut config.proxy_out),
        TableEntry::many("parent", |config| &config.parents, |config| &mut config.parents),
        TableEntry::once("log", |config| &config.log, |config| &mut config.log),
        TableEntry::once("admin", |config| &config.admin, |config| &mut config.admin),
        TableEntry::once("sandbox", |config| &config.sandbox, |config| &mut config.sandbox),
    ]
}

fn groups() -> TableEntry<Config> {
    TableEntry::of_names(
        ("groups", "Users by the groups that they are in, beside those of the users file"),
        ("NAME = [\"ann\", \"bob\"]", "A group, and who is in it"),
        |name| rule_values::own_name(name).map(drop),
        list(limits::GROUP_MEMBERS_MAX, rule_values::user),
        (|config| &config.groups, |config| &mut config.groups),
    )
}

tables! {
    /// Listeners, workers and the relay engine.
    pub struct ServerConfig {
        /// Addresses to accept clients on; port 0: a free one; none where there is a [[listener]] and this is left out.
        ///
        /// No two alike but for port 0.
        listen: Vec<Endpoint> = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1080)).into()],
            list(limits::MAX_LISTEN, value::relay_address).rule(reach::listeners), Reload;

        /// Worker threads; 0: one for each CPU that may be used, and no more than max_connections.
        ///
        /// At least one: 0 as typed has become a number.
        // Their number decides how descriptors, ceilings and groups of listeners are divided.
        workers: usize = available_cpus(), number(0..=limits::MAX_WORKERS), Start;

        /// Each worker stays on one CPU.
        // A thread is pinned before it touches memory, so that this is of the CPU's node.
        pin: bool = true, switch(), Start;

        /// How bytes are moved; auto copies first and splices when it pays.
        // A session takes it as its relay begins.
        relay: RelayMode = RelayMode::Auto, choice(), Reload;

        /// Sessions at once, over all workers; 0: as many as the open-file limit allows.
        ///
        /// Shared evenly by the workers, of which there are no more.
        max_connections: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;

        /// Connections that the kernel queues for each listener.
        // A listener keeps the queue that it was opened with, and a reload leaves those open that stay.
        backlog: u32 = 4096, number(1..=limits::MAX_BACKLOG), Start;

        /// Spin for this long before sleeping: latency for CPU.
        // A worker looks at it each time that it waits.
        busy_poll: Duration = Duration::ZERO, duration(spin()), Reload;

        /// Permits a listener that anyone may reach and use without a password.
        open_proxy: bool = false, switch(), Reload;
        /// TCP's congestion control; auto: no pacing towards loopback targets and on loopback listeners; system; or a name.
        // Sockets take it before they connect, and listeners can be given another.
        congestion: Congestion = Congestion::Auto, text(value::congestion, Congestion::to_string), Reload;

        /// Which worker accepts: by the kernel's hash, or by the CPU that took the packet.
        // The group of listeners has its program from when it was opened.
        steer: Steer = Steer::Hash, choice(), Start;

        /// A directory for what outlives the server: what was used of quotas; one server's at a time; relative to this file.
        // What it has is read before the first session counts.
        state: Option<PathBuf> = None, optional(path(), "\"/var/lib/outflow\""), Start;

        /// Whose rights the server goes on with where root starts it, by name or number: "USER" or "USER:GROUP".
        // It is gone over to before there is a thread, and no way leads back.
        user: Option<Arc<str>> = None, optional(text(sandbox_table::run_as, ToString::to_string), "\"outflow\""), Start;

        /// A unix socket at which a new server takes this one's place (--takeover, SIGUSR2); relative to this file.
        // The process that starts programs is forked before there is a thread.
        takeover: Option<PathBuf> = None, optional(path(), "\"/run/outflow/takeover.sock\""), Start;
    }

    /// How long each phase of a session may take.
    pub struct Timeouts {
        /// From accept to the end of the request.
        handshake: Duration = Duration::from_secs(10), duration(setup()), Reload;
        /// All attempts to reach the target together: up to 64 addresses, two at a time.
        connect: Duration = Duration::from_secs(15), duration(setup()), Reload;
        /// The answer to one name, over all servers.
        dns: Duration = Duration::from_secs(5), duration(setup()), Reload;
        /// A relay without a byte in either direction.
        ///
        /// By default what RFC 5382 REQ-5 asks for.
        idle: Duration = Duration::from_secs(7440), duration(relay()), Reload;
        /// One direction has ended and the other is silent.
        half_close: Duration = Duration::from_secs(240), duration(relay()), Reload;
        /// Live sessions after SIGTERM or SIGINT; a second signal ends at once.
        drain: Duration = Duration::from_secs(30), duration(relay()), Reload;
        /// Live sessions behind a hand-over to a new server; 0: until the last one ends.
        handover: Duration = Duration::ZERO, duration(value::or_without_end()), Reload;
        /// Sent bytes that nobody acknowledges, or a reader that pauses (TCP_USER_TIMEOUT).
        unacked: Duration = Duration::from_secs(300), duration(relay()), Reload;
        /// A BIND session that waits for its peer.
        bind: Duration = Duration::from_secs(60), duration(setup()), Reload;
        /// An association without a datagram in either direction.
        ///
        /// By default what RFC 4787 REQ-5 recommends.
        udp_idle: Duration = Duration::from_secs(300), duration(relay()), Reload;
    }

    /// Which SOCKS methods are offered, and who may log in.
    pub struct AuthConfig with gssapi: Gssapi {
        /// How clients log in, in order of preference.
        ///
        /// Never empty, none twice.
        methods: Vec<AuthMethod> = vec![AuthMethod::None], choices().needs("a method"), Reload;
        /// Needed by password and socks4_ident, and by nothing else; relative to this file.
        ///
        /// Absolute; always there when `methods` has password.
        users: Option<PathBuf> = None, optional(path(), "\"users.passwd\""), Reload;
        /// SOCKS4 clients have to go by the name of a user who is listed without a password, as NAME:*:ident.
        socks4_ident: bool = false, switch(), Reload;
    }

    /// For method gssapi (RFC 1961).
    pub struct Gssapi {
        /// The service's keys; relative to this file.
        ///
        /// Absolute.
        keytab: PathBuf = PathBuf::from("/etc/krb5.keytab"), path(), Reload;
        /// What clients ask the KDC for: "NAME" or "NAME@HOST".
        ///
        /// RFC 1961 section 3.2.
        service: String = "rcmd".to_owned(), text(value::service, String::clone), Reload;
        /// Levels that a client may have.
        protection: Protection = Protection::default(), choices().needs("a level"), Reload;
        /// Take the level unwrapped, too, in one octet, as the NEC reference sends it.
        nec: bool = false, switch(), Reload;
    }

    /// How names are resolved.
    pub struct Dns {
        /// Asked in order; empty: those of resolv.conf; "192.0.2.53", "[2001:db8::53]:53", "fe80::53%eth0".
        servers: Vec<Endpoint> = Vec::new(),
            shown(list(limits::MAX_DNS_SERVERS, value::dns_server), "[\"192.0.2.53\"]"), Reload;
        /// Look names up in the hosts file first.
        hosts: bool = true, switch(), Reload;
        /// Names that are remembered, over all workers.
        cache_entries: usize = 65_536, number(1..=limits::MAX_DNS_CACHE_ENTRIES), Reload;
        /// Which address family is dialled first.
        prefer: Prefer = Prefer::HappyEyeballs, choice(), Reload;
        /// NAT64 prefixes, judged by what they carry: those the servers show; off; or a list of yours.
        dns64: Dns64 = Dns64::Auto, dns64::translators(), Reload;
    }

    /// Exemptions from the refusal of special-purpose destinations.
    pub struct GuardConfig {
        /// Special-purpose CIDR blocks that clients may reach.
        allow: Vec<IpNet> = Vec::new(),
            shown(list(limits::MAX_GUARD_ALLOW, value::block), "[\"10.0.0.0/8\"]"), Reload;
        /// Clients may reach all special-purpose destinations, loopback and private ones among them.
        allow_private: bool = false, switch(), Reload;
    }

    /// Where the peers of BIND sessions connect to.
    pub struct Bind {
        /// Where peers connect to, such as "40000-49999"; empty: any port that the kernel gives.
        ports: Option<PortRange> = None,
            shown(text(reach::ports, reach::ports_text), "\"40000-49999\""), Reload;
        /// Behind NAT: the addresses that clients are told, one of each family.
        advertise: Advertise = Advertise::default(), shown(reach::advertise(), "\"203.0.113.7\""), Reload;
    }

    /// Where the datagrams of associations go.
    pub struct UdpConfig {
        /// Where clients send to, such as "50000-59999"; empty: any port that the kernel gives.
        ports: Option<PortRange> = None,
            shown(text(reach::ports, reach::ports_text), "\"50000-59999\""), Reload;
        /// Behind NAT: the addresses that clients are told, one of each family.
        advertise: Advertise = Advertise::default(), shown(reach::advertise(), "\"203.0.113.7\""), Reload;
        /// Put fragments together (RFC 1928 section 7); false: drop them.
        fragments: bool = true, switch(), Reload;
        /// Who may answer: addresses that were sent to, or anybody.
        filtering: Filtering = Filtering::Address, choice(), Reload;
    }

    /// Who may go where: the first of the rules that matches decides.
    pub struct PolicyConfig {
        /// What holds where no rule matches; without it "allow" where there is no rule, else "deny".
        default: Option<Action> = None, optional(choice(), "\"deny\""), Reload;
        /// Which decisions the log tells: those that deny, all, or none.
        log: Logged = Logged::Deny, choice(), Reload;
        /// Where to write what live traffic needs, for `outflow learn` to make rules of; relative to this file.
        ///
        /// Absolute.
        learn: Option<PathBuf> = None, optional(path(), "\"learned.jsonl\""), Reload;
        /// Live sessions that other rules deny go on, or are ended.
        on_reload: OnReload = OnReload::Keep, choice(), Reload;
    }

    /// Destinations that rules name together, as "@name".
    pub struct ListConfig {
        /// Its name, without the @.
        ///
        /// Never empty, no two alike.
        name: Arc<str> = Arc::from(""),
            shown(text(rule_values::own_name, ToString::to_string), "\"partners\""), Reload;
        /// Names: "example.com", "*.example.com" below it, ".example.com" it and below.
        domains: Vec<NamePattern> = Vec::new(),
            condition(list(limits::RULE_VALUES_MAX, rule_values::domain), "[\".example.com\"]"), Reload;
        /// Blocks of addresses, and addresses.
        cidrs: Vec<IpNet> = Vec::new(),
            condition(list(limits::RULE_VALUES_MAX, rule_values::network), "[\"192.0.2.0/24\"]"), Reload;
        /// Names and blocks, one a line; # begins a comment; relative to this file.
        ///
        /// Absolute.
        file: Option<PathBuf> = None, optional(path(), "\"blocked.txt\""), Reload;
        /// A plain name in the file stands for all names below it, too.
        subdomains: bool = false, switch(), Reload;
    }

    /// What each subject of a limit may have, over all workers, where a session's rule or user has it.
    pub struct LimitConfig {
        /// Its name: rules and the users file call it by that.
        ///
        /// Never empty, no two alike.
        name: Arc<str> = Arc::from(""),
            shown(text(rule_values::own_name, ToString::to_string), "\"plan\""), Reload;
        /// Whose sessions count together; source: an IPv4 address or IPv6 /64, source/24: an IPv4 /24 or IPv6 /48; never left out.
        per: Per = Per::User, choice(), Reload;
        /// Sessions at a time: tunnels, associations and BIND waits; 0: as many as come.
        connections: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;
        /// Associations at a time; 0: as many as come.
        udp_associations: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;
        /// Sessions that begin in a second, and how many at once; the burst is a second's worth where it is left out.
        new_per_second: Option<BurstRate> = None, optional(rates::counted(), "{ rate = 10, burst = 50 }"), Reload;
        /// Bytes from clients in a second, and how many at once.
        upload: Option<BurstRate> = None, optional(rates::bytes(), "{ rate = \"10MB\", burst = \"20MB\" }"), Reload;
        /// Bytes to clients in a second, and how many at once.
        download: Option<BurstRate> = None, optional(rates::bytes(), "\"100MB\""), Reload;
        /// Datagrams in a second, both ways together, and how many at once.
        datagrams: Option<BurstRate> = None, optional(rates::counted(), "10000"), Reload;
        /// Bytes in an hour, a day or a month; direction: "both", "up" or "down"; reset: when it begins; kept over a restart.
        quota: Option<QuotaConfig> = None, optional(quotas::quota(), quotas::EXAMPLE), Reload;
        /// What a quota that is used up means: refuse new sessions (the default), slow all down to the limit's rates, or close live ones.
        on_reached: Option<OnReached> = None, optional(choice(), "\"slow\""), Reload;
    }

    /// Limits of each user who logged in, whatever rule allows a session.
    pub struct PerUser {
        /// Sessions at a time, over all workers; 0: as many as come.
        connections: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;
        /// Associations at a time; 0: as many as come.
        udp_associations: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;
        /// Sessions that begin in a second, and how many at once.
        new_per_second: Option<BurstRate> = None, optional(rates::counted(), "{ rate = 10, burst = 50 }"), Reload;
        /// Bytes in a second each way, and how many at once.
        bandwidth: Option<BurstRate> = None, optional(rates::bytes(), "\"10MB\""), Reload;
        /// Bytes both ways in a day, of UTC; past it no session begins.
        bytes_per_day: Option<u64> = None, optional(rates::amount(limits::QUOTA_BYTES_MAX), "\"10GB\""), Reload;
    }

    /// Limits of each source, which is one IPv4 address or one IPv6 /64.
    pub struct PerSource {
        /// Sessions at a time, over all workers; 0: as many as come.
        connections: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;
        /// Associations at a time; 0: as many as come.
        udp_associations: usize = 0, number(0..=limits::MAX_CONNECTIONS), Reload;
        /// Sessions that begin in a second, and how many at once.
        new_per_second: Option<BurstRate> = None, optional(rates::counted(), "{ rate = 10, burst = 50 }"), Reload;
        /// Bytes in a second each way, and how many at once.
        bandwidth: Option<BurstRate> = None, optional(rates::bytes(), "\"10MB\""), Reload;
        /// Bytes both ways in a day, of UTC; past it no session begins.
        bytes_per_day: Option<u64> = None, optional(rates::amount(limits::QUOTA_BYTES_MAX), "\"10GB\""), Reload;
    }

    /// How HTTP is spoken.
    pub struct HttpConfig {
        /// Requests and responses that pass say in Via that they came by here.
        via: bool = true, switch(), Reload;
        /// GET /proxy.pac and /wpad.dat give browsers a file that sends them here.
        pac: bool = false, switch(), Reload;
        /// How long a client's connection is kept for its next request.
        keep_alive: Duration = Duration::from_secs(60), duration(relay()), Reload;
    }

    /// The log and the access record.
    pub struct Log {
        /// The least grave message that is written.
        level: Level = Level::Info, choice(), Reload;
        /// The form of log lines.
        format: Format = Format::Text, choice(), Reload;
        /// Access records, a JSON line for each session: off, stdout or a path.
        // Where its thread writes is changed between two lines; which workers write any is in their snapshot.
        access: Access = Access::Off, place(value::access, value::access_text), Reload;
        /// Where records find no room: drop them, or refuse sessions that could not leave one.
        on_full: OnFull = OnFull::Drop, choice(), Reload;
        /// Access records of an association's targets, too, one for each.
        udp_targets: bool = false, switch(), Reload;
    }

    /// The admin endpoint: what an operator sees and changes while the server runs.
    pub struct AdminConfig {
        /// "unix:/run/outflow/admin.sock", "127.0.0.1:9180", or several; empty: no endpoint.
        ///
        /// No two alike but for port 0. Others than unix sockets and loopback addresses only with `token_file`.
        listen: Vec<ListenAddress> = Vec::new(),
            shown(list(limits::MAX_ADMIN_LISTEN, listen_address::admin_address).or_one().rule(listen_address::listeners), "\"unix:/run/outflow/admin.sock\""), Reload;
        /// One line that clients over TCP have to show; needed by addresses beyond loopback; relative to this file.
        ///
        /// Absolute.
        token_file: Option<PathBuf> = None, optional(path(), "\"admin.token\""), Reload;
    }
}

/// What a relay, or the end of all, may wait for.
fn relay() -> RangeInclusive<Duration> {
    Duration::from_millis(limits::MIN_TIMEOUT_MS)..=Duration::from_secs(limits::MAX_RELAY_TIMEOUT_S)
}

/// How long a worker may keep its CPU without work.
fn spin() -> RangeInclusive<Duration> {
    Duration::ZERO..=Duration::from_micros(limits::MAX_BUSY_POLL_US)
}

/// CPUs that this process may run on; one when that cannot be known.
pub(super) fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get()).min(limits::MAX_WORKERS as usize)
}

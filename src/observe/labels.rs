//! What counts are told apart by, and the words for it. None is a user, a host or an address.

use crate::auth::username::ParameterFault;
use crate::dns::DnsError;
use crate::outcome::Reason;
use crate::policy::accounts::Reached;
use crate::policy::rules::RuleId;
use crate::policy::{Denial, Refusal};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;
use crate::relay::datagram::Drop;
use crate::relay::{Engine, NoPipe};
use crate::session::{DialError, Facts, Failure};

/// A type whose values are words of a label.
pub(super) trait LabelWord: Copy + 'static {
    const COUNT: usize;
    fn word(number: usize) -> &'static str;
}

/// Labels whose type has its own list of values, in the order of their numbers.
macro_rules! listed {
    ($($label:ty),+) => {$(
        impl LabelWord for $label {
            const COUNT: usize = <$label>::ALL.len();
            fn word(number: usize) -> &'static str {
                <$label>::ALL[number].name()
            }
        }
    )+};
}

listed!(Reason, Engine, Drop, NoPipe, ParameterFault);

/// Makes a label of a list of its values and their words.
macro_rules! label {
    ($(#[doc = $about:literal])+ $label:ident { $($(#[doc = $help:literal])+ $value:ident = $word:literal;)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $label {
            $($(#[doc = $help])+ $value,)+
        }

        impl $label {
            /// Every value, in the order of its number.
            pub const ALL: &[$label] = &[$($label::$value),+];
        }

        impl LabelWord for $label {
            const COUNT: usize = $label::ALL.len();
            fn word(number: usize) -> &'static str {
                [$($word),+][number]
            }
        }
    };
}

label! {
    /// Which way relayed bytes went.
    Direction {
        /// Client to target.
        Up = "up";
        /// Target to client.
        Down = "down";
    }
}

label! {
    /// How somebody said who he is.
    LoginMethod {
        /// By name and password (RFC 1929).
        Password = "password";
        /// By a security context (RFC 1961).
        Gssapi = "gssapi";
        /// By a name alone (SOCKS4).
        Ident = "ident";
        /// By a certificate (RFC 8446 section 4.4.2).
        Certificate = "certificate";
    }
}

label! {
    /// How a handshake of TLS came out.
    TlsOutcome {
        /// A new session.
        Full = "full";
        /// A session that went on.
        Resumed = "resumed";
        /// None.
        Failed = "failed";
    }
}

label! {
    /// Which TLS a client speaks.
    TlsSpoken {
        /// RFC 5246.
        Tls12 = "tls12";
        /// RFC 8446.
        Tls13 = "tls13";
        /// It is not agreed on yet.
        Unknown = "unknown";
    }
}

label! {
    /// How a login came out.
    LoginResult {
        /// It was right.
        Ok = "ok";
        /// It was wrong.
        Failed = "failed";
    }
}

label! {
    /// Where a pipe is.
    PipeState {
        /// With a relay, with bytes in it.
        Lent = "lent";
        /// Kept for the next use, empty.
        Pooled = "pooled";
    }
}

label! {
    /// Why accepting paused.
    PauseCause {
        /// This process has as many descriptors as it may.
        Descriptors = "descriptors";
        /// All processes together have as many descriptors as they may.
        SystemDescriptors = "system_descriptors";
        /// The kernel has no memory for a connection.
        Memory = "memory";
        /// Another refusal of the kernel.
        Other = "other";
    }
}

label! {
    /// Why a connection was reset before it became a session.
    ShedCause {
        /// It stood for too long in its listener's queue: more come than are served.
        Queue = "queue";
        /// As many sessions as `server.max_connections` allows, for too long.
        Connections = "connections";
        /// As many sessions as there are descriptors for, for too long.
        Descriptors = "descriptors";
        /// As many sessions as there is memory for, for too long.
        Memory = "memory";
    }
}

impl ShedCause {
    /// Its word.
    pub fn name(self) -> &'static str {
        ShedCause::word(self as usize)
    }
}

label! {
    /// What a request asked for.
    AskedFor {
        /// CONNECT.
        Connect = "connect";
        /// BIND.
        Bind = "bind";
        /// UDP ASSOCIATE.
        UdpAssociate = "udp_associate";
        /// RESOLVE.
        Resolve = "resolve";
        /// RESOLVE_PTR.
        ResolvePtr = "resolve_ptr";
        /// A request that could not be read, or for another command.
        Unknown = "unknown";
    }
}

label! {
    /// What a request was answered with, by the names of RFC 1928 section 6.
    Replied {
        /// It is done.
        Succeeded = "succeeded";
        /// The fault is ours.
        GeneralFailure = "general_failure";
        /// Not allowed by the rules.
        NotAllowed = "not_allowed";
        /// Network unreachable.
        NetworkUnreachable = "network_unreachable";
        /// Host unreachable.
        HostUnreachable = "host_unreachable";
        /// Connection refused.
        ConnectionRefused = "connection_refused";
        /// No answer of the target in time.
        TtlExpired = "ttl_expired";
        /// Command not supported.
        CommandNotSupported = "command_not_supported";
        /// Address type not supported.
        AddressTypeNotSupported = "address_type_not_supported";
        /// Nothing: the client left before.
        Nothing = "none";
    }
}

label! {
    /// Why something was refused that a client asked for.
    DenialCause {
        /// The guard: an address of a special range, or of this machine.
        SpecialPurpose = "special_purpose";
        /// The guard: this server itself.
        OwnListener = "own_listener";
        /// The guard: a UDP socket of this server.
        OwnPort = "own_port";
        /// A rule.
        Rule = "rule";
        /// No rule matched, and the default denies.
        Default = "default";
        /// The pool that is meant, of the client or the user, is not there.
        NoPool = "no_pool";
        /// The machine's own rules: a firewall, a prohibit route.
        Machine = "machine";
        /// The listener does not take such requests, or such clients.
        Listener = "listener";
        /// `limits.per_source`, at the request.
        PerSource = "per_source";
        /// A limit: as many sessions as may be.
        LimitConnections = "limit_connections";
        /// A limit: as many associations as may be.
        LimitAssociations = "limit_associations";
        /// A limit: as many new sessions as may begin.
        LimitNewSessions = "limit_new_sessions";
        /// As many bytes of its subject as a limit allows in this period.
        Quota = "quota";
        /// `limits.per_source`, when the connection came.
        TurnedAway = "turned_away";
        /// Its access record had no room.
        Unrecorded = "unrecorded";
        /// To a listener of BIND came another than its peer.
        ForeignPeer = "foreign_peer";
    }
}

label! {
    /// Why a connect attempt failed.
    DialFailure {
        /// The target refused.
        Refused = "refused";
        /// The target did not answer in time.
        TimedOut = "timed_out";
        /// No route to the host.
        HostUnreachable = "host_unreachable";
        /// No route to the network.
        NetworkUnreachable = "network_unreachable";
        /// The pool that it was to leave from leads to no address of the target's family.
        OtherFamily = "other_family";
        /// The machine's own rules forbid it.
        Machine = "machine";
        /// It came out at this server.
        OwnListener = "own_listener";
        /// The socket connected to itself.
        SelfConnect = "self_connect";
        /// No local port was left.
        NoLocalPort = "no_local_port";
        /// Another error of this machine: no descriptor, no memory.
        Local = "local";
    }
}

label! {
    /// What came of a name.
    NameAnswer {
        /// It has addresses.
        Found = "found";
        /// There is no such name.
        NotFound = "not_found";
        /// It has no address that is wanted.
        NoAddress = "no_address";
        /// Every name server refused or failed.
        ServerFailure = "server_failure";
        /// No name server answered in time.
        Timeout = "timeout";
        /// Too many names waited already.
        Busy = "busy";
        /// There is no name server.
        NoServers = "no_servers";
    }
}

label! {
    /// What a worker remembers.
    Remembered {
        /// The addresses of names.
        Names = "names";
        /// Logins that were verified.
        Logins = "logins";
    }
}

label! {
    /// Whether it was remembered.
    Recall {
        /// It was.
        Hit = "hit";
        /// It was not.
        Miss = "miss";
    }
}

label! {
    /// What waits somewhere.
    Queue {
        /// Bytes of access records, for their sink.
        Records = "records";
        /// Bytes of log lines, for standard error.
        Log = "log";
        /// Letters to workers.
        Mailboxes = "mailboxes";
        /// Names that are being resolved.
        Names = "names";
        /// Logins that are being verified.
        Logins = "logins";
        /// Tokens of security contexts that are being taken.
        Contexts = "contexts";
    }
}

impl LoginMethod {
    /// How a client of these facts says who it is, by something that is verified.
    pub fn of(facts: &Facts) -> LoginMethod {
        if facts.by_name { LoginMethod::Ident } else { LoginMethod::Password }
    }
}

impl AskedFor {
    pub(super) fn of(command: Option<RequestCommand>) -> AskedFor {
        match command {
            Some(RequestCommand::Connect) => AskedFor::Connect,
            Some(RequestCommand::Bind) => AskedFor::Bind,
            Some(RequestCommand::UdpAssociate) => AskedFor::UdpAssociate,
            Some(RequestCommand::Resolve) => AskedFor::Resolve,
            Some(RequestCommand::ResolvePtr) => AskedFor::ResolvePtr,
            None => AskedFor::Unknown,
        }
    }
}

impl Replied {
    pub(super) fn of(reply: Option<Rep>) -> Replied {
        match reply {
            Some(Rep::Succeeded) => Replied::Succeeded,
            Some(Rep::GeneralFailure) => Replied::GeneralFailure,
            Some(Rep::NotAllowed) => Replied::NotAllowed,
            Some(Rep::NetworkUnreachable) => Replied::NetworkUnreachable,
            Some(Rep::HostUnreachable) => Replied::HostUnreachable,
            Some(Rep::ConnectionRefused) => Replied::ConnectionRefused,
            Some(Rep::TtlExpired) => Replied::TtlExpired,
            Some(Rep::CommandNotSupported) => Replied::CommandNotSupported,
            Some(Rep::AddressTypeNotSupported) => Replied::AddressTypeNotSupported,
            None => Replied::Nothing,
        }
    }
}

impl DenialCause {
    /// Why this failure denied something; `None` where it failed for another cause.
    pub fn of(failure: &Failure) -> Option<DenialCause> {
        match failure {
            Failure::Denied(Denial::Rule(RuleId::DEFAULT)) => Some(DenialCause::Default),
            Failure::Denied(Denial::Rule(_)) => Some(DenialCause::Rule),
            Failure::Denied(Denial::NoPool(_)) => Some(DenialCause::NoPool),
            Failure::Denied(Denial::Guard(refusal)) => match refusal {
                Refusal::SpecialPurpose(_) => Some(DenialCause::SpecialPurpose),
                Refusal::OwnListener => Some(DenialCause::OwnListener),
                Refusal::OwnPort => Some(DenialCause::OwnPort),
                // A port at which nobody listens.
                Refusal::SelfConnect => None,
            },
            Failure::Dial(DialError::Ourselves) => Some(DenialCause::OwnListener),
            Failure::Dial(DialError::Forbidden) => Some(DenialCause::Machine),
            Failure::NotTaken | Failure::NoBalancer => Some(DenialCause::Listener),
            Failure::NotThrough(_) => Some(DenialCause::Rule),
            Failure::SourceLimit => Some(DenialCause::PerSource),
            Failure::Limit(exceeded) => Some(match exceeded.reached {
                Reached::Connections => DenialCause::LimitConnections,
                Reached::Associations => DenialCause::LimitAssociations,
                Reached::NewSessions => DenialCause::LimitNewSessions,
                Reached::Quota => DenialCause::Quota,
            }),
            Failure::Unrecorded => Some(DenialCause::Unrecorded),
            _ => None,
        }
    }
}

impl From<DialError> for DialFailure {
    fn from(error: DialError) -> DialFailure {
        match error {
            DialError::Refused => DialFailure::Refused,
            DialError::TimedOut | DialError::NobodyCame => DialFailure::TimedOut,
            DialError::HostUnreachable => DialFailure::HostUnreachable,
            DialError::NetworkUnreachable => DialFailure::NetworkUnreachable,
            DialError::OtherFamily { .. } => DialFailure::OtherFamily,
            DialError::Forbidden => DialFailure::Machine,
            DialError::Ourselves => DialFailure::OwnListener,
            DialError::SelfConnect => DialFailure::SelfConnect,
            DialError::NoLocalPort => DialFailure::NoLocalPort,
            // Of what leads to a target, and no attempt of ours.
            DialError::Replied(_) | DialError::ParentAway | DialError::Local(_) => DialFailure::Local,
        }
    }
}

impl NameAnswer {
    /// What this answer says.
    pub fn of<T>(answer: &Result<T, DnsError>) -> NameAnswer {
        match answer {
            Ok(_) => NameAnswer::Found,
            Err(DnsError::NotFound) => NameAnswer::NotFound,
            Err(DnsError::NoAddress) => NameAnswer::NoAddress,
            Err(DnsError::ServerFailure) => NameAnswer::ServerFailure,
            Err(DnsError::Timeout) => NameAnswer::Timeout,
            Err(DnsError::Busy) => NameAnswer::Busy,
            Err(DnsError::NoServers) => NameAnswer::NoServers,
        }
    }
}

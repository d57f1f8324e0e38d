//! How a session ended, in one word: what records, metrics and the log call it.

/// The one word that a record and a metric give for a session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Both directions ended in order.
    Completed,
    /// The client reset the connection.
    ClientReset,
    /// The target reset the connection.
    TargetReset,
    /// No byte within the idle time.
    Idle,
    /// Half closed, and no byte within the half-close time.
    HalfClose,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The client left before there was a relay.
    ClientLeft,
    /// Bytes that are not SOCKS5.
    Protocol,
    /// An HTTP request.
    Http,
    /// No TLS came about: none is spoken here, or its handshake failed.
    Tls,
    /// No acceptable method.
    NoMethod,
    /// Wrong credentials.
    AuthFailed,
    /// Parameters of the session beside the client's name that are none.
    BadParameters,
    /// A level of protection that is not given here, or a sealed message that cannot be opened.
    Protection,
    /// Refused by policy.
    Denied,
    /// The name has no usable address.
    DnsFailed,
    /// The target could not be reached.
    ConnectFailed,
    /// No local port was left, towards the target or to listen on.
    NoLocalPort,
    /// The target did not answer in time.
    ConnectTimeout,
    /// No server of the parent that leads to the target serves.
    ParentFailed,
    /// The target's response is none of HTTP.
    BadResponse,
    /// No association came about.
    AssociateFailed,
    /// Cut off at the end of the drain.
    Drained,
    /// Ended by an operator.
    Killed,
    /// Denied by the rules of a reload.
    Revoked,
    /// A quota of its limits is used up.
    Quota,
    /// Our own fault.
    Internal,
}

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Reason; 27] = [
        Reason::Completed,
        Reason::ClientReset,
        Reason::TargetReset,
        Reason::Idle,
        Reason::HalfClose,
        Reason::HandshakeTimeout,
        Reason::ClientLeft,
        Reason::Protocol,
        Reason::Http,
        Reason::Tls,
        Reason::NoMethod,
        Reason::AuthFailed,
        Reason::BadParameters,
        Reason::Protection,
        Reason::Denied,
        Reason::DnsFailed,
        Reason::ConnectFailed,
        Reason::NoLocalPort,
        Reason::ConnectTimeout,
        Reason::ParentFailed,
        Reason::BadResponse,
        Reason::AssociateFailed,
        Reason::Drained,
        Reason::Killed,
        Reason::Revoked,
        Reason::Quota,
        Reason::Internal,
    ];

    /// The word itself.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Completed => "completed",
            Reason::ClientReset => "client_reset",
            Reason::TargetReset => "target_reset",
            Reason::Idle => "idle",
            Reason::HalfClose => "half_close",
            Reason::HandshakeTimeout => "handshake_timeout",
            Reason::ClientLeft => "client_left",
            Reason::Protocol => "protocol",
            Reason::Http => "http",
            Reason::Tls => "tls",
            Reason::NoMethod => "no_method",
            Reason::AuthFailed => "auth_failed",
            Reason::BadParameters => "bad_parameters",
            Reason::Protection => "protection",
            Reason::Denied => "denied",
            Reason::DnsFailed => "dns_failed",
            Reason::ConnectFailed => "connect_failed",
            Reason::NoLocalPort => "no_local_port",
            Reason::ConnectTimeout => "connect_timeout",
            Reason::ParentFailed => "parent_failed",
            Reason::BadResponse => "bad_response",
            Reason::AssociateFailed => "associate_failed",
            Reason::Drained => "drained",
            Reason::Killed => "killed",
            Reason::Revoked => "revoked",
            Reason::Quota => "quota",
            Reason::Internal => "internal",
        }
    }
}

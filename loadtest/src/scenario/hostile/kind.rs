//! The attacks by name, with how strong each is where nothing else is asked for.

use std::time::Duration;

use clap::ValueEnum;

/// What the hostile client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttackKind {
    /// CONNECT to names with many addresses that are all silent; needs --dns.
    Dials,
    /// CONNECT to names that are not answered, or answered late (--delay); the others ask for good names; needs --dns.
    Names,
    /// Wrong logins from many sources that leave at once; the others log in, each as a user not seen before; needs
    /// --users.
    Logins,
    /// Guesses passwords from one source and does not wait for late answers; the others log in from the same source,
    /// as the first of --users, the guesses are at the rest; needs --users.
    Guesses,
    /// GSSAPI tokens of 64 KiB that are never complete; the others send one of 6,000 bytes, the last a moment later;
    /// needs a server that offers method gssapi (with outflow: a keytab, whatever it holds).
    Tokens,
    /// BIND to names with many addresses, once every port of the server's range (--ports of them) is taken; needs
    /// --dns.
    Binds,
    /// Sessions to a target that never says or ends anything, closed as soon as they stand.
    Silent,
    /// Random bytes in place of a greeting, and connections that are closed at once.
    Garbage,
}

/// How strong an attack is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Force {
    /// Connections a second; without it each that ends is followed by another.
    pub(crate) rate: Option<f64>,
    /// Connections at a time.
    pub(crate) in_flight: u64,
    /// Connections in all.
    pub(crate) count: u64,
    /// Addresses that it comes from: 127.1.0.1 and those that follow, each `stride` after the one before.
    pub(crate) sources: u32,
    pub(crate) stride: u32,
    /// How long a connection is kept that gets no answer.
    pub(crate) hold: Duration,
    /// Addresses of a name.
    pub(crate) addresses: u8,
    /// After how long a name is answered; without it never.
    pub(crate) delay: Option<Duration>,
    /// Ports of the server's range for BIND.
    pub(crate) ports: u64,
}

impl AttackKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dials => "dials",
            Self::Names => "names",
            Self::Logins => "logins",
            Self::Guesses => "guesses",
            Self::Tokens => "tokens",
            Self::Binds => "binds",
            Self::Silent => "silent",
            Self::Garbage => "garbage",
        }
    }

    /// What it does where the command line does not say.
    pub(crate) fn usual(self) -> Force {
        let seconds = Duration::from_secs_f64;
        let force = Force {
            rate: Some(400.0),
            in_flight: 600,
            count: 200_000,
            sources: 1,
            stride: 1,
            hold: seconds(5.6),
            addresses: 7,
            delay: None,
            ports: 256,
        };
        match self {
            Self::Dials => Force { rate: Some(200.0), in_flight: 76, hold: seconds(20.0), ..force },
            Self::Names => force,
            Self::Logins => {
                Force { rate: Some(8000.0), in_flight: 512, count: 16_000, sources: 800, ..force }
            }
            Self::Guesses => Force { rate: None, in_flight: 24, hold: seconds(0.12), ..force },
            Self::Tokens => Force { rate: Some(2000.0), in_flight: 1000, hold: seconds(30.0), ..force },
            Self::Binds => {
                Force { rate: Some(200.0), in_flight: 276, hold: seconds(60.0), addresses: 32, ..force }
            }
            Self::Silent => Force { rate: Some(500.0), in_flight: 64, count: 6000, ..force },
            Self::Garbage => Force { rate: Some(4000.0), in_flight: 256, hold: seconds(1.0), ..force },
        }
    }
}

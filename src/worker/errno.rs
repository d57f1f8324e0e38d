//! What an errno means to a dial, to a listener, to an accept and to an association.

use std::io;

use crate::observe::PauseCause;
use crate::session::{AssociateError, DialError};
use crate::sys::{Errno, errno_of};

/// What an errno says of a target.
pub(super) fn dial_error(errno: Errno) -> DialError {
    match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET => DialError::Refused,
        Errno::ETIMEDOUT => DialError::TimedOut,
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => DialError::HostUnreachable,
        Errno::ENETUNREACH | Errno::ENETDOWN | Errno::EINVAL | Errno::EAFNOSUPPORT => {
            DialError::NetworkUnreachable
        }
        Errno::EACCES | Errno::EPERM => DialError::Forbidden,
        Errno::EADDRNOTAVAIL => DialError::NoLocalPort,
        errno => DialError::Local(errno as i32),
    }
}

/// accept(2): errors of the connection alone, which ended in the queue.
pub(super) fn ends_one_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ECONNABORTED
            | Errno::EPROTO
            | Errno::EINTR
            | Errno::EPERM
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
    )
}

/// accept(2): what there is none of for a connection.
pub(super) fn pause_cause(errno: Errno) -> PauseCause {
    match errno {
        Errno::EMFILE => PauseCause::Descriptors,
        Errno::ENFILE => PauseCause::SystemDescriptors,
        Errno::ENOBUFS | Errno::ENOMEM => PauseCause::Memory,
        _ => PauseCause::Other,
    }
}

pub(super) fn local_error(error: &io::Error) -> DialError {
    DialError::Local(errno_of(error) as i32)
}

pub(super) fn associate_error(error: DialError) -> AssociateError {
    match error {
        DialError::NoLocalPort => AssociateError::NoPort,
        DialError::Local(errno) => AssociateError::Local(errno),
        _ => AssociateError::Local(0),
    }
}

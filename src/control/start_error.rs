//! What keeps a server from starting.

use std::fmt;
use std::io;

use super::handover::HandoverError;
use crate::config::Problems;

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// What the configuration names cannot be had.
    Named(Problems),
    /// Threads or epoll.
    Machine(io::Error),
    /// The place of the server before it cannot be taken, which serves on.
    Handover(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Named(problems) => problems.fmt(f),
            StartError::Machine(error) => write!(f, "cannot start: {error}"),
            StartError::Handover(error) => write!(f, "cannot take the other server's place: {error}"),
        }
    }
}

impl From<HandoverError> for StartError {
    fn from(error: HandoverError) -> StartError {
        StartError::Handover(error.to_string())
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Named(problems) => Some(problems),
            StartError::Machine(error) => Some(error),
            StartError::Handover(_) => None,
        }
    }
}

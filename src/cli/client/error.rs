//! Why a request to an admin endpoint came to nothing, in words for who made it.

use std::fmt;
use std::io;

use serde_json::Value;

use crate::cli::text::visible;
use crate::limits::ANSWER_BODY_BYTES_MAX;

/// Why no answer could be read.
#[derive(Debug)]
pub(super) enum AnswerError {
    /// The connection failed.
    Io(io::Error),
    /// What came is no answer of ours.
    Foreign(String),
    /// It has so many bytes.
    TooLong(usize),
}

impl From<io::Error> for AnswerError {
    fn from(error: io::Error) -> AnswerError {
        AnswerError::Io(error)
    }
}

/// Why a request came to nothing. Each names the endpoint.
#[derive(Debug)]
pub(in crate::cli) enum ClientError {
    /// Nothing listens there.
    Absent(String),
    /// The machine lets us not connect.
    Unreachable(String, io::Error),
    /// No answer came in time, or not all of it.
    TimedOut(String),
    /// Something listens there, and it is no endpoint of outflow.
    Foreign(String, String),
    /// The answer has so many bytes that it was not read.
    TooLong(String, usize),
    /// It said no.
    Refused(EndpointRefusal),
}

/// What an endpoint says where it does not do what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct EndpointRefusal {
    /// The status, from 300 on.
    pub(in crate::cli) status: u16,
    /// Its words.
    pub(in crate::cli) error: String,
    /// What is wrong with the configuration, a line each, where that is why.
    pub(in crate::cli) problems: Vec<String>,
}

impl EndpointRefusal {
    /// Reads `{"error": ..., "problems": [...]}`; `None` where it is something else.
    pub(super) fn read(status: u16, body: &Value) -> Option<EndpointRefusal> {
        let error = body.get("error")?.as_str()?.to_owned();
        let problems = body.get("problems").and_then(Value::as_array).into_iter().flatten();
        let problems = problems.filter_map(Value::as_str).map(str::to_owned).collect();
        Some(EndpointRefusal { status, error, problems })
    }
}

impl ClientError {
    /// The error of a connection to `address`, at any time of it.
    pub(super) fn of_io(address: String, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ClientError::Absent(address),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut(address),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ClientError::Foreign(address, "it hangs up without an answer".into())
            }
            _ => ClientError::Unreachable(address, error),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Absent(address) => {
                write!(f, "nothing listens on {address}: is outflow run with --admin?")
            }
            ClientError::Unreachable(address, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{address}: {error}: it is for the user that outflow runs as, and for root")
            }
            ClientError::Unreachable(address, error) => write!(f, "{address}: {error}"),
            ClientError::TimedOut(address) => write!(f, "{address} does not answer in time"),
            ClientError::Foreign(address, what) => {
                write!(f, "no admin endpoint of outflow answers on {address}: {}", visible(what))
            }
            ClientError::TooLong(address, bytes) => {
                let most = ANSWER_BODY_BYTES_MAX;
                write!(f, "{address} answers with {bytes} bytes, of which {most} are read: ask for less")
            }
            ClientError::Refused(EndpointRefusal { status: 401, error, .. }) => {
                write!(f, "{} (--token-file FILE)", visible(error))
            }
            ClientError::Refused(EndpointRefusal { error, problems, .. }) => {
                write!(f, "{}", visible(error))?;
                problems.iter().try_for_each(|problem| write!(f, "\n{}", visible(problem)))
            }
        }
    }
}

impl std::error::Error for ClientError {}

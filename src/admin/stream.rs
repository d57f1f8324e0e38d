//! A connection to the endpoint, whichever way it came.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};

/// A non-blocking connection.
#[derive(Debug)]
pub(super) enum AdminStream {
    /// To an address.
    Tcp(TcpStream),
    /// To a unix socket.
    Unix(UnixStream),
}

impl AdminStream {
    /// The socket, for a poll.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            AdminStream::Tcp(stream) => stream,
            AdminStream::Unix(stream) => stream,
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn end(&self) {
        // It may have been reset by now.
        let _ = match self {
            AdminStream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            AdminStream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for AdminStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            AdminStream::Tcp(stream) => stream.read(into),
            AdminStream::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for AdminStream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            AdminStream::Tcp(stream) => stream.write(from),
            AdminStream::Unix(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

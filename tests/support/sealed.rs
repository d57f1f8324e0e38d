//! The two directions of a protected session, each to be used by a thread of its own.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::gss::{ENCAPSULATED, GssClient, Initiator, frame};
use super::keyed::{End, Keyed, mix};
use super::wait::uninterrupted;

/// Where a session's client sends.
pub(crate) struct Sender {
    stream: TcpStream,
    gss: Arc<Mutex<Initiator>>,
    level: u8,
}

/// Where it receives.
pub(crate) struct Receiver {
    stream: BufReader<TcpStream>,
    gss: Arc<Mutex<Initiator>>,
    level: u8,
}

/// Takes a client at level 1, 2 or 3 apart.
pub(crate) fn split(client: GssClient) -> (Sender, Receiver) {
    assert!(client.level != 0, "nothing is wrapped at level 0");
    let (gss, level) = (Arc::new(Mutex::new(client.gss)), client.level);
    let stream = client.client.stream;
    let reading = BufReader::with_capacity(1 << 17, stream.try_clone().expect("a second handle"));
    (Sender { stream, gss: Arc::clone(&gss), level }, Receiver { stream: reading, gss, level })
}

/// Lengths of messages in no order: most are large, some tiny, one in sixteen empty.
fn odd_length(n: u64) -> usize {
    let random = usize::try_from(mix(n) >> 8).expect("64 bits");
    match n % 16 {
        0 => 0,
        1 | 2 => 1 + random % 100,
        3 | 4 => 1 + random % 5000,
        _ => 1 + random % 64_000,
    }
}

impl Sender {
    /// Sends `bytes` as one message; false once the other side is gone.
    pub(crate) fn message(&mut self, bytes: &[u8]) -> bool {
        let token = self.gss.lock().expect("the context").wrap(bytes, self.level != 1);
        self.stream.write_all(&frame(ENCAPSULATED, &token)).is_ok()
    }

    /// Sends the next `length` bytes of a stream in messages of odd lengths; false once the other side is gone.
    pub(crate) fn stream(&mut self, keyed: &mut Keyed, length: u64) -> bool {
        let end = keyed.count + length;
        let mut n = end;
        while keyed.count < end {
            n += 1;
            let left = usize::try_from(end - keyed.count).expect("a length");
            if !self.message(keyed.take(odd_length(n).min(left))) {
                return false;
            }
        }
        true
    }

    /// Sends the FIN.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shut down writing");
    }

    /// The client's own address, which names the session in its record.
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("local address")
    }

    /// The connection itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl Receiver {
    /// The body of the next message, or how the stream ended. An end within a message is a fault.
    pub(crate) fn message(&mut self) -> Result<Vec<u8>, End> {
        let mut head = [0; 4];
        match uninterrupted(|| self.stream.read(&mut head[..1])) {
            Ok(0) => return Err(End::Fin),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(End::Reset),
            other => other.map(drop).expect("a message"),
        }
        match self.stream.read_exact(&mut head[1..]).and_then(|()| self.rest(head)) {
            Ok(token) => Ok(self.open(&token)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
            Err(error) => panic!("{error} within a message"),
        }
    }

    fn rest(&mut self, head: [u8; 4]) -> std::io::Result<Vec<u8>> {
        assert_eq!(head[..2], [0x01, ENCAPSULATED], "VER and MTYP");
        let mut token = vec![0; u16::from_be_bytes([head[2], head[3]]).into()];
        self.stream.read_exact(&mut token)?;
        Ok(token)
    }

    fn open(&mut self, token: &[u8]) -> Vec<u8> {
        let opened = self.gss.lock().expect("the context").unwrap(token);
        let (confidential, body) = opened.expect("a message of the server");
        assert!(self.level == 3 || confidential == (self.level == 2), "confidential: {confidential}");
        body
    }

    /// Insists that the next `length` bytes are those of the stream; messages may not go beyond them.
    pub(crate) fn stream(&mut self, keyed: &mut Keyed, length: u64) {
        let end = keyed.count + length;
        while keyed.count < end {
            match self.message() {
                Ok(body) => keyed.insist(&body),
                Err(how) => panic!("{how:?} at byte {} of {end}", keyed.count),
            }
        }
        assert_eq!(keyed.count, end, "more than was sent");
    }

    /// Checks all that comes against the stream; how it ended.
    pub(crate) fn receive_to_end(&mut self, keyed: &mut Keyed) -> End {
        loop {
            match self.message() {
                Ok(body) => keyed.insist(&body),
                Err(end) => return end,
            }
        }
    }
}

/// Makes the tests `none`, `integrity`, `confidentiality` and `per_message` of each function named.
macro_rules! levels {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn none() {
                super::$name(0);
            }
            protected!(@tests $name);
        }
    )+};
}

/// Makes the tests `integrity`, `confidentiality` and `per_message` of each function named.
macro_rules! protected {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            protected!(@tests $name);
        }
    )+};
    (@tests $name:ident) => {
        #[test]
        fn integrity() {
            super::$name(1);
        }
        #[test]
        fn confidentiality() {
            super::$name(2);
        }
        #[test]
        fn per_message() {
            super::$name(3);
        }
    };
}

//! The question at the end of a soak: what has the origin seen of this run? It goes straight to the
//! origin, not through the server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::keyed::script::{Conduct, Script, TALLY_BYTES, Tally};

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(10);
/// One answer takes no longer from an origin that is there.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks until `enough` or for `patience`, and gives the last answer. What clients have ended may still be on
/// its way through the server.
pub(super) fn ask(
    target: SocketAddr,
    run: u64,
    patience: Duration,
    enough: impl Fn(&Tally) -> bool,
) -> Result<Tally, Fault> {
    let began = Instant::now();
    let mut stream = connect(target).map_err(Fault::Origin)?;
    loop {
        let tally = question(&mut stream, run).map_err(Fault::Origin)?;
        if tally.findings > 0 || enough(&tally) || began.elapsed() >= patience {
            return Ok(tally);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

fn question(stream: &mut TcpStream, run: u64) -> io::Result<Tally> {
    let script = Script { conduct: Conduct::Tell, run, session: 0, key: 0, up: 0, down: 0 };
    stream.write_all(&script.encode())?;
    let mut answer = [0; TALLY_BYTES];
    stream.read_exact(&mut answer)?;
    Ok(Tally::decode(&answer))
}

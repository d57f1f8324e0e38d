//! A SOCKS5 server in a few lines, which answers pages itself, and the load generator as a process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// How a server treats its clients.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Time before a request is answered, if above 0; clients are then served one after the other.
    pub(crate) pause: Duration,
}

/// A server on a port of its own, for as long as the test's process lives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that leaves is no matter of the server's.
                if manner.pause.is_zero() {
                    let seen = Arc::clone(&seen);
                    thread::spawn(move || drop(serve(client, manner, &seen)));
                } else {
                    let _ = serve(client, manner, &seen);
                }
            }
        });
        Self { address, requests }
    }

    /// Every request so far, from VER to the port.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().expect("no server thread has panicked").clone()
    }
}

fn serve(mut client: TcpStream, manner: Manner, seen: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting)?;
    client.write_all(&[5, greeting[2]])?;
    let request = read_request(&mut client)?;
    seen.lock().expect("no server thread has panicked").push(request);
    thread::sleep(manner.pause);
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80])?;
    let head = read_head(&mut client)?;
    client.write_all(&page(&head))?;
    client.read_to_end(&mut Vec::new()).map(drop)
}

fn read_request<R: Read>(client: &mut R) -> io::Result<Vec<u8>> {
    let mut request = vec![0; 5];
    client.read_exact(&mut request)?;
    let whole = match request[3] {
        1 => 4 + 4 + 2,
        3 => 4 + 1 + usize::from(request[4]) + 2,
        _ => 4 + 16 + 2,
    };
    let mut rest = vec![0; whole - request.len()];
    client.read_exact(&mut rest)?;
    request.extend_from_slice(&rest);
    Ok(request)
}

fn read_head<R: Read>(client: &mut R) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// The answer to `GET /LENGTH`: 0, 1, ... 250, 0, 1 and so on.
fn page(head: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let length = text.strip_prefix("GET /").and_then(|path| path.split(' ').next()?.parse().ok());
    (0..length.unwrap_or(0)).map(|at: usize| (at % 251) as u8).collect()
}

/// The server of these tests as a process of its own: this test binary once more.
pub(crate) struct Process {
    pub(crate) address: String,
    pub(crate) pid: String,
    child: Child,
}

impl Process {
    pub(crate) fn start() -> Self {
        let this = std::env::current_exe().expect("the test binary has a path");
        let mut child = Command::new(this)
            .args(["--exact", "support::server_process", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test binary runs again");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let first = lines.next().expect("a line").expect("text");
        let address = first.strip_prefix("listening on ").expect("its address").to_owned();
        Self { address, pid: child.id().to_string(), child }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "a server for other tests, which run it as a process"]
fn server_process() {
    let server = Server::start(Manner::default());
    eprintln!("listening on {}", server.address);
    io::stdin().read_to_end(&mut Vec::new()).expect("its input ends");
}

/// Runs `outflow-load` with these words to its end.
pub(crate) fn load(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outflow-load")).args(words).output().expect("the load generator runs")
}

/// The record of a run that went well.
pub(crate) fn record(words: &[&str]) -> Value {
    let output = load(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

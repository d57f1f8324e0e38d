//! Listeners on unix sockets: who may connect, what is relayed, and what becomes of the file.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::support::client::{connect_ip, request};
use crate::support::origin::pattern;
use crate::support::relay::Builder;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Origin, Relay};

/// A client of a unix socket.
struct UnixClient(UnixStream);

impl UnixClient {
    fn connect(path: &Path) -> UnixClient {
        let stream = UnixStream::connect(path).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        UnixClient(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("send");
    }

    fn recv(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("receive");
        bytes
    }

    /// Greets, and makes a request of SOCKS5; its reply's code.
    fn ask(&mut self, request: &[u8]) -> u8 {
        self.send(&[0x05, 0x01, 0x00]);
        assert_eq!(self.recv(2), [0x05, 0x00]);
        self.send(request);
        self.recv(10)[1]
    }
}

fn builder(keys: &str) -> (Builder, PathBuf) {
    let builder = Relay::builder();
    let path = builder.directory().join("socks");
    (builder.listeners(&[&table(&path, keys)]), path)
}

fn table(path: &Path, keys: &str) -> String {
    format!("address = \"unix:{}\"\n{keys}", path.display())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").mode() & 0o7777
}

/// Bulk both ways through all workers, and a record that names the socket.
fn bytes_are_relayed_from_a_unix_socket(engine: Engine) {
    let (builder, path) = builder("");
    let (relay, origin) = (builder.workers(2).engine(engine).start(), Origin::echo());
    let payload = pattern(0, 3_000_000);
    let sessions = 4;
    for _ in 0..sessions {
        let mut client = UnixClient::connect(&path);
        assert_eq!(client.ask(&connect_ip(origin.addr)), 0);
        let mut writer = client.0.try_clone().expect("a descriptor");
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&payload).expect("send");
                writer.shutdown(std::net::Shutdown::Write).expect("FIN");
            });
            let mut received = Vec::new();
            client.0.read_to_end(&mut received).expect("receive");
            received
        });
        assert!(received == payload, "{} bytes", received.len());
    }
    for record in relay.records(sessions) {
        assert_eq!(record["listener"], format!("unix:{}", path.display()), "{record}");
        assert_eq!(record["client"], "127.0.0.1:0", "{record}");
        assert_eq!(
            (&record["reason"], &record["bytes_up"]),
            (&"completed".into(), &3_000_000.into()),
            "{record}"
        );
        assert_eq!(record["engine"], engine.name());
    }
}
engines!(bytes_are_relayed_from_a_unix_socket);

/// What would need an address is answered as a command that there is not; what is spoken is the listener's to say.
#[test]
fn only_what_needs_no_address_is_taken() {
    let (builder, path) = builder("protocols = [\"socks5\", \"http\"]");
    let (_relay, origin) = (builder.start(), Origin::echo());
    for command in [0x02, 0x03] {
        assert_eq!(UnixClient::connect(&path).ask(&request(command, origin.addr)), 0x07);
    }
    let mut client = UnixClient::connect(&path);
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr).as_bytes());
    assert_eq!(client.recv(12), b"HTTP/1.1 200");
}

/// The file is there for as long as somebody listens, for whom the file says, and anew after a reload that moves it.
#[test]
fn the_file_is_whom_the_listener_says_and_goes_with_it() {
    let (builder, path) = builder("mode = \"0660\"");
    let mut relay = builder.start();
    let other = path.with_file_name("other");
    assert!(std::fs::metadata(&path).expect("it is there").file_type().is_socket());
    assert_eq!(mode(&path), 0o660);
    let mut before = UnixClient::connect(&path);
    relay.put_listeners(&[&table(&path, "mode = \"0606\"\nowner = \"0:0\"")]);
    relay.reload(&[]);
    assert_eq!((mode(&path), std::fs::metadata(&path).expect("it is there").uid()), (0o606, 0));
    relay.put_listeners(&[&table(&other, "")]);
    relay.reload(&[]);
    wait::until_true("the old socket is gone", PATIENCE, || !path.exists());
    assert_eq!(mode(&other), 0o600);
    let origin = Origin::echo();
    assert_eq!(UnixClient::connect(&other).ask(&connect_ip(origin.addr)), 0);
    assert_eq!(before.ask(&connect_ip(origin.addr)), 0, "who came before is served");
    drop(before);
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    assert!(!other.exists());
}

/// As the admin endpoint has it: a socket that a crash left is replaced, a live one and what is no socket stay.
#[test]
fn what_stands_at_the_path_is_looked_at() {
    let (builder, path) = builder("");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that is left"));
    let mut relay = builder.start();
    UnixClient::connect(&path);
    let refused = |path: &Path, keys: &str, words: &[&str]| {
        let output = Relay::builder().listeners(&[&table(path, keys)]).run_to_exit();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.iter().all(|word| said.contains(word)), "{said}");
    };
    refused(&path, "", &["[[listener]] 1 key `address`", "another server listens there"]);
    let file = path.with_file_name("file");
    std::fs::write(&file, "kept").expect("a file");
    refused(&file, "", &["it is no socket"]);
    refused(&path.with_file_name("none").join("socks"), "", &["RuntimeDirectory="]);
    let nobody = &["[[listener]] 1 key `owner`", "there is no user \"nobody-of-this-name\""];
    refused(&path.with_file_name("new"), "owner = \"nobody-of-this-name\"", nobody);
    relay.signal("KILL");
    relay.wait_exit(PATIENCE);
    assert!(path.exists(), "a crash leaves it");
}

/// Whoever may write to the folder could once have a reload change the mode and the owner of any file, by a link to it.
#[test]
fn another_file_at_the_path_stays_whose_it_is() {
    let (builder, path) = builder("mode = \"0660\"");
    let mut relay = builder.start();
    let kept = path.with_file_name("kept");
    std::fs::write(&kept, "kept").expect("a file");
    let before = mode(&kept);
    assert_ne!(before, 0o666);
    std::fs::remove_file(&path).expect("its name");
    std::os::unix::fs::symlink(&kept, &path).expect("a link");
    relay.put_listeners(&[&table(&path, "mode = \"0666\"\nowner = \"0:0\"")]);
    relay.reload(&[]);
    assert_eq!(mode(&kept), before, "a link leads to it");
    std::fs::remove_file(&path).expect("the link");
    std::fs::hard_link(&kept, &path).expect("another name");
    relay.reload(&[]);
    assert_eq!(mode(&kept), before, "it stands there itself");
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    assert!(path.exists(), "what is not ours is not removed");
}

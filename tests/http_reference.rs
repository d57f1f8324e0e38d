//! Requests and responses of HTTP as llhttp reads them, which is Node's parser and knows nothing of ours: what is taken here
//! goes on as bytes in which it finds the same one message, and nothing behind it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use outflow::proto::http::{
    ChunkPiece, ChunkReader, FieldRoom, ForwardRequest, Framing, ToClient, read_request, read_response,
};
use serde_json::Value;

use crate::support::random::Random;
use crate::support::skip::without;

/// Messages of each kind that are made up; most are broken somewhere.
const CASES: usize = 20_000;

/// Reads lines of "q" or "p" and the bytes of a message in hexadecimal, and says what there is in each.
const REFERENCE: &str = r"
const { HTTPParser, methods } = process.binding('http_parser');
const read = (type, bytes) => {
  const found = [];
  let last;
  const parser = new HTTPParser();
  parser.initialize(type, {});
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, fields, method, url, status, reason, upgrade) => {
    last = { fields, method: methods[method], url, status, upgrade, body: '', whole: false };
    found.push(last);
    return 0;
  };
  parser[HTTPParser.kOnBody | 0] = (bytes) => { last.body += bytes.toString('hex'); };
  parser[HTTPParser.kOnMessageComplete | 0] = () => { last.whole = true; };
  const result = parser.execute(bytes);
  return { error: result instanceof Error ? result.code : null, found };
};
const lines = require('fs').readFileSync(0, 'utf8').split('\n').filter((line) => line);
for (const line of lines) {
  const type = line[0] === 'q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE;
  console.log(JSON.stringify(read(type, Buffer.from(line.slice(1), 'hex'))));
}
";

/// What the reference finds in each of these.
fn reference(messages: &[(char, Vec<u8>)]) -> Vec<Value> {
    let mut input = String::new();
    for (kind, bytes) in messages {
        input.push(*kind);
        bytes.iter().for_each(|byte| write!(input, "{byte:02x}").expect("memory"));
        input.push('\n');
    }
    let mut node = Command::new("node")
        .args(["--no-deprecation", "-e", REFERENCE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start node");
    let mut stdin = node.stdin.take().expect("stdin");
    // It writes nothing before it has read everything.
    stdin.write_all(input.as_bytes()).expect("hand over");
    drop(stdin);
    let output = node.wait_with_output().expect("an end");
    assert!(output.status.success(), "node failed");
    let text = String::from_utf8(output.stdout).expect("text");
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(found.len(), messages.len());
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The body at the front of these bytes and what of it goes on; absent where it is not whole or not taken.
fn body(framing: Framing, bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match framing {
        Framing::None => Some((Vec::new(), Vec::new())),
        Framing::UntilClose => Some((bytes.to_vec(), bytes.to_vec())),
        Framing::Length(length) => {
            let body = bytes.get(..usize::try_from(length).ok()?)?.to_vec();
            Some((body.clone(), body))
        }
        Framing::Chunked => {
            let (mut reader, mut data, mut passed, mut rest) = (ChunkReader::new(), vec![], vec![], bytes);
            loop {
                let count = match reader.next(rest).ok()? {
                    ChunkPiece::More => return None,
                    ChunkPiece::Data(count) => {
                        data.extend_from_slice(&rest[..count]);
                        passed.extend_from_slice(&rest[..count]);
                        count
                    }
                    ChunkPiece::Dropped(count) => count,
                    ChunkPiece::Line(count) | ChunkPiece::End(count) => {
                        passed.extend_from_slice(&rest[..count]);
                        count
                    }
                };
                rest = &rest[count..];
                if reader.is_over() {
                    return Some((data, passed));
                }
            }
        }
    }
}

/// A message that was taken: as it came, as it goes on, and what has to be in that.
struct Taken {
    came: Vec<u8>,
    goes_on: Vec<u8>,
    line: String,
    body: Vec<u8>,
}

const METHODS: &[&str] = &["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "TRACE", "PROPFIND"];
const TARGETS: &[&str] = &[
    "http://a/",
    "http://a:80/x?y",
    "http://a",
    "http://b/",
    "http://a/ ",
    "/",
    "*",
    "http://u@a/",
    "HTTP://A//",
];
const FIELDS: &[&str] = &[
    "Content-Length: 5",
    "Content-Length: 0",
    "content-length:5",
    "Content-Length: 05",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: content-length",
    "Connection: X-A",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "X-A: 1",
    "X-A:",
    "X-B: a\tb \u{e4}",
    " folded: 1",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Trailer: X",
    "Expect: 100-continue",
    "Host: a",
    "Cookie: a=b; c=\"d\"",
];
const BODIES: &[&str] = &[
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "5\nhello\n0\n\n",
    "0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "A\r\n0123456789\r\n0;x\r\n\r\n",
    "",
];
const BEHIND: &[&str] = &["", "GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n", "x"];
/// What is put in the place of a byte: those at which parsers differ.
const STRANGE: &[&[u8]] =
    &[b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b"\x0b", b"\x7f", b"\xff", b"", b"\r\n", b";", b"0"];

fn message(random: &mut Random, first: &str) -> Vec<u8> {
    let mut text = format!("{first}\r\n");
    if !random.one_in(12) {
        text += "Host: a\r\n";
    }
    for _ in 0..random.below(4) {
        text += *random.pick(FIELDS);
        text += "\r\n";
    }
    text += "\r\n";
    text += *random.pick(BODIES);
    text += *random.pick(BEHIND);
    let mut bytes = text.into_bytes();
    if random.one_in(2) {
        let at = random.index(bytes.len());
        let end = at + random.index(2);
        bytes.splice(at..end, random.pick(STRANGE).iter().copied());
    }
    bytes
}

fn taken_request(bytes: Vec<u8>) -> Option<Taken> {
    let mut room = FieldRoom::new();
    let (head, used) = read_request(&bytes, &mut 0, &mut room).ok()??;
    // The reference knows these methods and a few more; any other goes on, too.
    let forward = head.forward(true).filter(|_| METHODS.contains(&head.method))?;
    let (data, passed) = body(forward.framing, &bytes[used..])?;
    let goes_on = [&forward.head[..], &passed].concat();
    let line = String::from_utf8_lossy(&forward.head).into_owned();
    let line = line.split(" HTTP/1.1\r\n").next().expect("a line").to_owned();
    Some(Taken { came: bytes, goes_on, line, body: data })
}

#[test]
fn requests_go_on_as_a_strict_parser_reads_them() {
    if without("requests_go_on_as_a_strict_parser_reads_them", "node", "nodejs") {
        return;
    }
    let mut random = Random::new(0x6874_7470);
    let cases = (0..CASES).filter_map(|_| {
        let (method, target) = (*random.pick(METHODS), *random.pick(TARGETS));
        let version = if random.one_in(6) { "1.0" } else { "1.1" };
        taken_request(message(&mut random, &format!("{method} {target} HTTP/{version}")))
    });
    let cases: Vec<Taken> = cases.collect();
    assert!(cases.len() > CASES / 20, "only {} were taken", cases.len());
    let messages: Vec<_> = cases.iter().map(|taken| ('q', taken.goes_on.clone())).collect();
    for (taken, found) in cases.iter().zip(reference(&messages)) {
        let of = format!("{}\nwent on as\n{}", taken.came.escape_ascii(), taken.goes_on.escape_ascii());
        assert_eq!(found["error"], Value::Null, "{of}");
        let [one] = &found["found"].as_array().expect("a list")[..] else { panic!("{found} in {of}") };
        let line = format!("{} {}", one["method"].as_str().unwrap(), one["url"].as_str().unwrap());
        assert_eq!(line, taken.line, "{of}");
        assert_eq!(one["body"].as_str(), Some(&*hex(&taken.body)), "{of}");
        assert!(one["whole"] == true, "{of}");
    }
    // What came has the same body, where the reference takes it at all.
    let came: Vec<_> = cases.iter().map(|taken| ('q', taken.came.clone())).collect();
    for (taken, found) in cases.iter().zip(reference(&came)) {
        let Some(one) = found["found"].get(0).filter(|one| one["whole"] == true) else { continue };
        assert_eq!(one["body"].as_str(), Some(&*hex(&taken.body)), "{}", taken.came.escape_ascii());
    }
}

/// A request that any response may answer.
fn asked() -> ForwardRequest {
    let bytes = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut room = FieldRoom::new();
    let (head, _) = read_request(bytes, &mut 0, &mut room).expect("taken").expect("whole");
    head.forward(true).expect("in absolute form")
}

fn taken_response(bytes: Vec<u8>, request: &ForwardRequest) -> Option<Taken> {
    let mut room = FieldRoom::new();
    let (head, used) = read_response(&bytes, &mut 0, &mut room, request).ok()??;
    let (data, passed) = body(head.framing, &bytes[used..])?;
    let mut goes_on = Vec::new();
    let keep_alive = head.framing != Framing::UntilClose;
    head.write(&mut goes_on, request, ToClient { framing: head.framing, keep_alive });
    goes_on.extend_from_slice(&passed);
    Some(Taken { came: bytes.clone(), goes_on, line: head.status.to_string(), body: data })
}

#[test]
fn responses_go_on_as_a_strict_parser_reads_them() {
    if without("responses_go_on_as_a_strict_parser_reads_them", "node", "nodejs") {
        return;
    }
    let mut random = Random::new(0x7265_7370);
    let request = asked();
    let cases = (0..CASES).filter_map(|_| {
        let status =
            *random.pick(&["200 OK", "204 No Content", "304 Not Modified", "404 x y", "200", "500 \t"]);
        let version = if random.one_in(6) { "1.0" } else { "1.1" };
        taken_response(message(&mut random, &format!("HTTP/{version} {status}")), &request)
    });
    let cases: Vec<Taken> = cases.collect();
    assert!(cases.len() > CASES / 20, "only {} were taken", cases.len());
    let messages: Vec<_> = cases.iter().map(|taken| ('p', taken.goes_on.clone())).collect();
    for (taken, found) in cases.iter().zip(reference(&messages)) {
        let of = format!("{}\nwent on as\n{}", taken.came.escape_ascii(), taken.goes_on.escape_ascii());
        assert_eq!(found["error"], Value::Null, "{of}");
        let [one] = &found["found"].as_array().expect("a list")[..] else { panic!("{found} in {of}") };
        assert_eq!(one["status"].to_string(), taken.line, "{of}");
        assert_eq!(one["body"].as_str(), Some(&*hex(&taken.body)), "{of}");
    }
}

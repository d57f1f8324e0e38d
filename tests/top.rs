//! `outflow top` on a terminal: keys, sizes, signals, an endpoint that goes and comes, and the terminal afterwards. The
//! endpoint is made up; the last test has a real one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::support::process::run_to_exit;
use crate::support::relay::binary;
use crate::support::terminal::Terminal;
use crate::support::wait::{self, PATIENCE};

const SIZE: (u16, u16) = (100, 30);

/// An admin endpoint with two sessions of which one can be ended.
struct MadeUp {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MadeUp {
    fn start(address: &str) -> MadeUp {
        let listener = TcpListener::bind(address).expect("listen");
        let address = listener.local_addr().expect("an address");
        let (asked, ends) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (notes, end) = (Arc::clone(&asked), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut sessions = vec!["00c0ffee", "0badcafe"];
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream, &notes, &mut sessions);
            }
        });
        MadeUp { address, asked, ends, thread: Some(thread) }
    }

    /// Waits until a request line has this in it.
    fn was_asked(&self, line: &str) {
        wait::until_true(line, PATIENCE, || {
            self.asked.lock().expect("lines").iter().any(|asked| asked.contains(line))
        });
    }
}

impl Drop for MadeUp {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One request and its answer.
fn serve(mut stream: TcpStream, notes: &Mutex<Vec<String>>, sessions: &mut Vec<&str>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let answer = answer(&line, sessions);
    notes.lock().expect("lines").push(line);
    let body = answer.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
    let _ = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
}

fn answer(line: &str, sessions: &mut Vec<&str>) -> Value {
    let (method, path) = line.split_once(' ').expect("a request line");
    match path.split('?').next().unwrap_or_default() {
        "/api/v1/stats" => {
            json!({"version": "7.7.7", "state": "serving", "counters": {"active": sessions.len()}})
        }
        "/api/v1/sessions" => {
            let told: Vec<Value> =
                sessions.iter().map(|id| json!({"id": id, "target": format!("{id}.example:443")})).collect();
            json!({"total": told.len(), "matched": told.len(), "sessions": told})
        }
        path if method == "DELETE" => {
            let before = sessions.len();
            sessions.retain(|id| !path.ends_with(id));
            json!({"ended": before - sessions.len()})
        }
        _ => json!({}),
    }
}

fn top(endpoint: &MadeUp) -> Terminal {
    let address = endpoint.address.to_string();
    let top = Terminal::start(&[binary(), "top", "--admin", &address, "--interval", "500ms"], &[], SIZE);
    top.shows(&["outflow 7.7.7", "serving"]);
    top
}

#[test]
fn a_key_quits_and_the_terminal_is_as_it_was() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    for key in ["q", "\x03"] {
        let mut top = top(&endpoint);
        assert!(top.look(|screen| screen.alternate_screen() && screen.hide_cursor()));
        top.press(key);
        assert_eq!(top.wait_exit(), Ok(0), "{key:?}");
        top.is_restored();
        assert!(!top.text().contains("7.7.7"), "{}", top.text());
    }
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_as_it_was() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("QUIT", 3)] {
        let mut top = top(&endpoint);
        top.signal(name);
        assert_eq!(top.wait_exit(), Err(number), "{name}");
        top.is_restored();
    }
}

#[test]
fn keys_choose_a_session_and_end_it() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let mut top = top(&endpoint);
    top.shows(&["0badcafe.example:443"]);
    top.press("\x1b[B");
    top.press("k");
    top.shows(&["End the session", "0badcafe.example:443", "y ends it"]);
    top.press("n");
    top.shows(&["q quit"]);
    top.press("ky");
    endpoint.was_asked("DELETE /api/v1/sessions/0badcafe");
    top.shows(&["session 0badcafe is ended"]);
    top.shows_no_more("0badcafe.example:443");
    assert!(top.text().contains("00c0ffee.example:443"));
}

#[test]
fn a_filter_is_typed_or_pasted_and_asked_for() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let mut top = top(&endpoint);
    top.press("/user=ann ");
    top.shows(&["show only user=ann"]);
    // Were it keys, the q in it would quit and its line feed would confirm.
    top.press("\x1b[200~target=q.example\n\x1b[201~");
    top.shows(&["show only user=ann target=q.example"]);
    top.press("\r");
    endpoint.was_asked("&user=ann&target=q.example");
    top.shows(&["2 of 2 sessions", "user=ann target=q.example"]);
}

#[test]
fn a_terminal_of_another_size_is_drawn_anew() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let mut top = top(&endpoint);
    top.resize(60, 16);
    wait::until_true("the keys in row 16", PATIENCE, || {
        top.text().lines().nth(15).is_some_and(|row| row.starts_with("q quit"))
    });
    top.resize(30, 8);
    top.shows(&["outflow top needs 40x10"]);
    top.resize(120, 40);
    top.shows(&["q quit", "b sessions"]);
    top.press("q");
    assert_eq!(top.wait_exit(), Ok(0));
}

#[test]
fn an_endpoint_that_goes_and_comes_back_is_followed() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let address = endpoint.address.to_string();
    let mut top = top(&endpoint);
    drop(endpoint);
    top.shows(&["no figures for", "nothing listens on", &address]);
    assert!(top.text().contains("00c0ffee.example:443"), "the last figures stay");
    let _back = MadeUp::start(&address);
    top.shows(&["outflow 7.7.7", "serving"]);
    top.press("q");
    assert_eq!(top.wait_exit(), Ok(0));
    top.is_restored();
}

/// The terminal belongs to the shell while it is stopped, and is drawn anew when it goes on.
#[test]
fn a_shell_stops_it_and_lets_it_go_on() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let script = format!(
        "set -m; '{}' top --admin {}; echo it has stopped; read go; fg >/dev/null; echo it has ended",
        binary(),
        endpoint.address
    );
    let mut shell = Terminal::start(&["sh", "-c", &script], &[], SIZE);
    shell.shows(&["outflow 7.7.7"]);
    shell.press("\x1a");
    shell.shows(&["it has stopped"]);
    assert!(shell.look(|screen| !screen.alternate_screen() && !screen.hide_cursor()));
    shell.press("go\n");
    shell.shows(&["outflow 7.7.7"]);
    shell.press("q");
    shell.shows(&["it has ended"]);
    assert_eq!(shell.wait_exit(), Ok(0));
    shell.is_restored();
}

/// Nobody could let it go on, were it stopped here.
#[test]
fn without_a_shell_behind_it_nothing_stops_it() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let mut top = top(&endpoint);
    top.press("\x1a");
    top.press("?");
    top.shows(&["keys"]);
    top.press("\x1b");
    top.shows_no_more("look now  ");
    top.press("q");
    assert_eq!(top.wait_exit(), Ok(0));
}

#[test]
fn without_colours_nothing_but_bold_and_reverse_is_sent() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let address = endpoint.address.to_string();
    let top = Terminal::start(&[binary(), "top", "--admin", &address], &[("NO_COLOR", "1")], SIZE);
    top.shows(&["q quit"]);
    let coloured = top.look(|screen| {
        let cells = (0..SIZE.1).flat_map(|row| (0..SIZE.0).map(move |column| (row, column)));
        let colours = cells.filter_map(|(row, column)| screen.cell(row, column));
        colours
            .filter(|cell| (cell.fgcolor(), cell.bgcolor()) != (vt100::Color::Default, vt100::Color::Default))
            .count()
    });
    assert_eq!(coloured, 0);
}

#[test]
fn what_it_cannot_draw_on_is_said_and_left_alone() {
    let endpoint = MadeUp::start("127.0.0.1:0");
    let address = endpoint.address.to_string();
    let mut command = Command::new(binary());
    let output = run_to_exit({
        command.args(["top", "--admin", &address]);
        command
    });
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("outflow: outflow top draws on a terminal"));
    for (term, said) in [("dumb", "TERM=dumb"), ("", "TERM is not set")] {
        let mut top = Terminal::start(&[binary(), "top", "--admin", &address], &[("TERM", term)], SIZE);
        assert_eq!(top.wait_exit(), Ok(1));
        top.shows(&["outflow top cannot draw", said]);
        top.is_restored();
    }
}

#[test]
fn where_nothing_listens_the_screen_is_not_taken() {
    let address = MadeUp::start("127.0.0.1:0").address.to_string();
    let mut top = Terminal::start(&[binary(), "top", "--admin", &address], &[], SIZE);
    assert_eq!(top.wait_exit(), Ok(1));
    top.shows(&["outflow: nothing listens on", &address]);
    top.is_restored();
}

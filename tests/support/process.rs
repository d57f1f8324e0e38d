//! Processes that end by themselves, and what processes say.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::wait::{self, PATIENCE, uninterrupted};

/// Copies a program, to be started from there. Another process writes it: were it this one, whatever another test starts meanwhile
/// would have it open for writing, too, until it is a program of its own, and the kernel starts no such file (ETXTBSY).
pub(crate) fn copy_program(program: impl AsRef<Path>, to: &Path) {
    let status = Command::new("cp").arg(program.as_ref()).arg(to).status().expect("start cp");
    assert!(status.success(), "cp: {status}");
}

/// Writes a program, in the way of [`copy_program`].
pub(crate) fn write_program(path: &Path, text: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path);
    let output = run_with_input(command, text.as_bytes());
    assert!(output.status.success(), "sh: {output:?}");
}

/// Runs a command that ends by itself; kills it and panics when it does not.
pub(crate) fn run_to_exit(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    run_with_input(command, b"")
}

/// `run_to_exit` with something on standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    // What this machine has as the server's file in /etc is no part of a test.
    if command.get_envs().all(|(name, _)| name != "OUTFLOW_CONFIG") {
        command.env("OUTFLOW_CONFIG", "");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the process");
    if let Some(mut stdin) = child.stdin.take() {
        // A command that has no use for its input may have ended already.
        let _ = stdin.write_all(input);
    }
    let stdout = collect(child.stdout.take().expect("stdout"));
    let stderr = collect(child.stderr.take().expect("stderr"));
    let mut ended = None;
    let started = std::time::Instant::now();
    while ended.is_none() && started.elapsed() < PATIENCE {
        ended = child.try_wait().expect("wait for the process");
        thread::sleep(Duration::from_millis(2));
    }
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        panic!(
            "did not end by itself: {command:?}\n{}\n{}",
            stdout.lock().expect("out"),
            stderr.lock().expect("err")
        );
    };
    // The collectors hold the pipes' last bytes only once they have met the end.
    wait::until_true("the end of the output", PATIENCE, || {
        Arc::strong_count(&stdout) == 1 && Arc::strong_count(&stderr) == 1
    });
    let bytes = |text: Arc<Mutex<String>>| text.lock().expect("output").clone().into_bytes();
    Output { status, stdout: bytes(stdout), stderr: bytes(stderr) }
}

/// All that comes from a stream, as it comes; the reader lets go of it at the end.
pub(crate) fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
            sink.lock().expect("log").push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    });
    text
}

/// The lines of a child's standard output, as they come.
pub(crate) fn read_lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

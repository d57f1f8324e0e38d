//! A terminal of a program's own: its keyboard, its screen as a person sees it, and its settings.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use vt100::Parser;

use super::wait::{self, PATIENCE};

/// A program on a terminal that is its controlling one; killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    /// The program's side, for its settings.
    device: File,
    screen: Arc<Mutex<Parser>>,
    before: Termios,
}

fn whole(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a size")
}

impl Terminal {
    /// Starts a program on a terminal of so many columns and rows; what it finds in its environment is said.
    pub(crate) fn start(words: &[&str], environment: &[(&str, &str)], (columns, rows): (u16, u16)) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let (keyboard, device) = (File::from(pty.master), File::from(pty.slave));
        let before = tcgetattr(&device).expect("settings");
        let end = || Stdio::from(device.try_clone().expect("another descriptor"));
        // It becomes the program, so that its process is the program's.
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").envs(environment.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("start the program");
        let screen = Arc::new(Mutex::new(Parser::new(whole(rows), whole(columns), 0)));
        let (shown, mut output) = (Arc::clone(&screen), keyboard.try_clone().expect("another descriptor"));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("screen").process(&bytes[..n]);
            }
        });
        Self { child, keyboard, device, screen, before }
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("press keys");
    }

    /// What is on the screen, row by row.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().expect("screen").screen().contents()
    }

    /// What `look` sees of the screen now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().expect("screen").screen())
    }

    /// Waits until a row of the screen holds all of these words, and gives that row.
    pub(crate) fn shows(&self, words: &[&str]) -> String {
        wait::until(&format!("{words:?} on the screen"), PATIENCE, || {
            let text = self.text();
            text.lines().find(|row| words.iter().all(|word| row.contains(word))).map(str::to_owned)
        })
    }

    /// Waits until no row holds this.
    pub(crate) fn shows_no_more(&self, words: &str) {
        wait::until_true(&format!("{words:?} to be gone from the screen"), PATIENCE, || {
            !self.text().contains(words)
        });
    }

    /// Makes it another size, as a window that is dragged.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().expect("screen").screen_mut().set_size(whole(rows), whole(columns));
        let stdin = Stdio::from(self.device.try_clone().expect("another descriptor"));
        let size = [columns, rows].map(|number| number.to_string());
        let mut stty = Command::new("stty");
        let status =
            stty.args(["columns", &size[0], "rows", &size[1]]).stdin(stdin).status().expect("run stty");
        assert!(status.success());
    }

    /// Sends the program a signal by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().expect("run kill").success(), "{line}");
    }

    /// Waits for the program's end; gives its exit code, or the number of the signal that ended it.
    pub(crate) fn wait_exit(&mut self) -> Result<i32, i32> {
        let child = &mut self.child;
        let status: ExitStatus =
            wait::until("the program's end", PATIENCE, || child.try_wait().expect("wait for the program"));
        status.code().ok_or_else(|| status.signal().unwrap_or_default())
    }

    /// Waits until the terminal is as it was before the program: settings, screen, cursor, what keys send.
    pub(crate) fn is_restored(&self) {
        wait::until_true("the terminal as it was", PATIENCE, || self.is_as_before());
    }

    fn is_as_before(&self) -> bool {
        let now = tcgetattr(&self.device).expect("settings");
        let flags = |of: &Termios| (of.local_flags, of.input_flags, of.output_flags, of.control_flags);
        let plain = self
            .look(|screen| !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        plain && flags(&now) == flags(&self.before)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the screen at the end:\n{}", self.text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

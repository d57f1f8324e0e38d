//! The terminal: taken, drawn on, and always given back as it was.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write, stdin, stdout};
use std::panic;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};

use super::model::Model;
use super::theme::Theme;
use super::view;

/// Whether the terminal is ours now: whoever gives it back does so once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

/// Whether there is a terminal that can be drawn on.
///
/// # Errors
/// Says what it lacks.
pub(super) fn usable() -> Result<(), String> {
    if !stdout().is_terminal() || !stdin().is_terminal() {
        return Err("outflow top draws on a terminal, and standard input or output is none; \
                    `outflow stats` and `outflow sessions` print"
            .to_owned());
    }
    match std::env::var_os("TERM") {
        Some(name) if !name.is_empty() && name != "dumb" => Ok(()),
        Some(name) if name == "dumb" => {
            Err("outflow top cannot draw on a terminal with TERM=dumb".to_owned())
        }
        _ => Err("outflow top cannot draw on a terminal whose TERM is not set".to_owned()),
    }
}

/// How many rows it has.
pub(super) fn rows() -> usize {
    size().map_or(24, |(_, rows)| usize::from(rows))
}

impl Screen {
    /// Takes the terminal. A panic anywhere in the program gives it back before it is told, and ends the program.
    ///
    /// # Errors
    /// Where the terminal cannot be set or written.
    pub(super) fn take() -> io::Result<Screen> {
        let told_by = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            told_by(panic);
            process::exit(101);
        }));
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(stdout())))?;
        let mut screen = Screen { terminal };
        screen.take_again()?;
        Ok(screen)
    }

    /// Takes it after others had it, and draws all of it the next time.
    ///
    /// # Errors
    /// Where the terminal cannot be set or written.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(self.terminal.backend_mut(), EnterAlternateScreen, Hide, EnableBracketedPaste)?;
        // Not `clear`, which asks the terminal where the cursor stands: the answer would come among the keys.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Draws.
    ///
    /// # Errors
    /// Where the terminal cannot be written.
    pub(super) fn draw(&mut self, model: &mut Model, theme: Theme) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, model, theme, Instant::now())).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was; where it is gone, nobody misses that.
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = stdout();
        let _ = execute!(out, DisableBracketedPaste, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::*;

    /// Says to the test that it is the program in the terminal.
    const INSIDE: &str = "OUTFLOW_TEST_IN_TERMINAL";

    fn modes(device: &File) -> LocalFlags {
        tcgetattr(device).expect("settings").local_flags
    }

    /// Whatever thread panics: the terminal is as it was before the words of the panic are written, and the program ends.
    #[test]
    fn a_panic_gives_the_terminal_back_and_then_says_why() {
        if std::env::var_os(INSIDE).is_some() {
            let _screen = Screen::take().expect("a terminal");
            let other = std::thread::spawn(|| panic!("words of the panic"));
            let _ = other.join();
            unreachable!("the program goes on");
        }
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let (mut ours, device) = (File::from(pty.master), File::from(pty.slave));
        let before = modes(&device);
        let end = || Stdio::from(device.try_clone().expect("another descriptor"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(std::env::current_exe().expect("this program"));
        let name = "cli::top::screen::tests::a_panic_gives_the_terminal_back_and_then_says_why";
        command.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").env("TERM", "xterm-256color");
        let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("start it");
        let (sender, written) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = ours.read(&mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
        });
        let mut text = String::new();
        while !text.contains("words of the panic") {
            let more = written.recv_timeout(Duration::from_secs(20));
            text += &more.unwrap_or_else(|_| panic!("it only wrote {text:?}"));
        }
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}"));
        assert!(place("\x1b[?1049h") < place("\x1b[?1049l"), "{text:?}");
        assert!(place("\x1b[?1049l") < place("words of the panic") && text.contains("\x1b[?25h"), "{text:?}");
        assert_eq!(child.wait().expect("its end").code(), Some(101));
        assert_eq!(modes(&device), before);
    }
}

//! The loop: keys, answers and signals in, the screen out.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use ratatui::crossterm::event::{Event as Input, KeyEvent, read};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::keys::{Deed, paste, press};
use super::look::{Ask, Fetch, LookReport, Looker};
use super::model::{Model, Note, first_page};
use super::screen::{self, Screen};
use super::theme::Theme;
use crate::cli::text::visible;
use crate::limits;
use crate::sys::terminal::may_stop;

/// How often the screen is drawn where nothing happens: it says for how long nobody has answered.
const TICK: Duration = Duration::from_secs(1);

/// What the loop waits for.
enum Happening {
    Key(KeyEvent),
    Pasted(String),
    /// The terminal has another size, or was somebody else's meanwhile.
    Redraw,
    Answer(LookReport),
    Signal(i32),
    /// No key will come any more.
    Deaf(io::Error),
}

/// How the loop ended.
enum Leaving {
    Quit,
    /// By a signal, which is yet to do what it does to any program.
    Signal(i32),
}

/// Shows what `fetch` answers until a key or a signal ends it.
///
/// # Errors
/// Says why nothing can be shown, once the terminal is given back.
pub(super) fn run(fetch: impl Fetch + 'static, interval: Duration) -> Result<(), String> {
    screen::usable()?;
    let theme = Theme::of(|name| std::env::var_os(name));
    let mut looker = Looker::new(fetch, interval, first_page(screen::rows()));
    let look = looker.first().map_err(|trouble| visible(trouble.words()))?;
    let model = Model::new(look, Instant::now());
    let (happens, happenings) = bounded(limits::TOP_EVENTS_MAX);
    let (asks, asked) = bounded(limits::TOP_EVENTS_MAX);
    let no_thread = |error: io::Error| format!("no thread can be had: {error}");
    let screen = Screen::take().map_err(|error| format!("the terminal cannot be used: {error}"))?;
    watch_signals(happens.clone()).map_err(no_thread)?;
    watch_keys(happens.clone()).map_err(no_thread)?;
    let told = move |report| happens.send(Happening::Answer(report)).is_ok();
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || looker.run(&asked, told))
        .map_err(no_thread)?;
    let mut top = TopLoop { screen, model, theme, asks };
    let ending = top.serve(&happenings);
    drop(top);
    match ending.map_err(|error| format!("the terminal is gone: {error}"))? {
        Leaving::Quit => {}
        Leaving::Signal(signal) => _ = emulate_default_handler(signal),
    }
    Ok(())
}

fn watch_signals(happens: Sender<Happening>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        signals
            .forever()
            .take_while(|signal| happens.send(Happening::Signal(*signal)).is_ok())
            .for_each(drop);
    })?;
    Ok(())
}

fn watch_keys(happens: Sender<Happening>) -> io::Result<()> {
    let next = || match read() {
        Ok(Input::Key(key)) => Some(Happening::Key(key)),
        Ok(Input::Paste(text)) => Some(Happening::Pasted(text)),
        Ok(Input::Resize(..)) => Some(Happening::Redraw),
        Ok(_) => None,
        Err(error) => Some(Happening::Deaf(error)),
    };
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        loop {
            let Some(happening) = next() else { continue };
            let last = matches!(happening, Happening::Deaf(_));
            if happens.send(happening).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

/// The screen, what it shows, and who is asked for more.
struct TopLoop {
    screen: Screen,
    model: Model,
    theme: Theme,
    asks: Sender<Ask>,
}

impl TopLoop {
    /// Draws, waits, and takes what came, until it ends.
    fn serve(&mut self, happenings: &Receiver<Happening>) -> io::Result<Leaving> {
        loop {
            self.screen.draw(&mut self.model, self.theme)?;
            if let Some(page) = self.model.next_page()
                && self.ask(Ask::List(page.clone()))
            {
                self.model.asked_for(page);
            }
            let first = happenings.recv_timeout(TICK).ok();
            for happening in first.into_iter().chain(happenings.try_iter()).take(limits::TOP_EVENTS_MAX) {
                if let Some(ending) = self.take(happening)? {
                    return Ok(ending);
                }
            }
        }
    }

    fn take(&mut self, happening: Happening) -> io::Result<Option<Leaving>> {
        match happening {
            Happening::Key(key) => match press(&mut self.model, key) {
                None => {}
                Some(Deed::Quit) => return Ok(Some(Leaving::Quit)),
                Some(Deed::Stop) => self.stop()?,
                Some(Deed::Ask(ask)) => _ = self.ask(ask),
            },
            Happening::Pasted(text) => paste(&mut self.model, &text),
            Happening::Answer(report) => self.model.take(report, Instant::now()),
            Happening::Redraw => {}
            Happening::Signal(SIGTSTP) => self.stop()?,
            Happening::Signal(SIGCONT) => self.screen.take_again()?,
            Happening::Signal(signal) => return Ok(Some(Leaving::Signal(signal))),
            Happening::Deaf(error) => return Err(error),
        }
        Ok(None)
    }

    /// Stops as any program does, and goes on when the shell says so.
    fn stop(&mut self) -> io::Result<()> {
        if may_stop() {
            screen::give_back();
            emulate_default_handler(SIGTSTP)?;
            self.screen.take_again()?;
        }
        Ok(())
    }

    /// Hands over what is asked, if there is room.
    fn ask(&mut self, ask: Ask) -> bool {
        let full = self.asks.try_send(ask).is_err();
        if full {
            let words = "the endpoint has not answered what was asked before".to_owned();
            self.model.note = Some(Note { words, bad: true });
        }
        !full
    }
}

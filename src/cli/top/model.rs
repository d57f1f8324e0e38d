//! All that the screen shows, and what becomes of it as answers come.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::look::{Look, LookReport, Trouble};
use super::query::{AskedList, AskedPage, RankedBy, SortedBy, TypedFilter};
use super::seen::{HistorySeen, SessionSeen, SessionsSeen, StatsSeen, TalkersSeen};
use crate::limits;

/// Whose talk is shown where there is room for one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KindOfTalker {
    #[default]
    Users,
    Sources,
    Targets,
}

impl KindOfTalker {
    pub(super) const ALL: [KindOfTalker; 3] =
        [KindOfTalker::Users, KindOfTalker::Sources, KindOfTalker::Targets];

    /// The next kind.
    pub(super) fn next(self) -> KindOfTalker {
        match self {
            KindOfTalker::Users => KindOfTalker::Sources,
            KindOfTalker::Sources => KindOfTalker::Targets,
            KindOfTalker::Targets => KindOfTalker::Users,
        }
    }

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            KindOfTalker::Users => "users",
            KindOfTalker::Sources => "sources",
            KindOfTalker::Targets => "targets",
        }
    }
}

/// What keys go to.
#[derive(Clone, Debug)]
pub(super) enum TopMode {
    /// The table.
    Table,
    /// The line in which a filter is typed.
    Typing(String),
    /// Whether this session is to end.
    Asked(Box<SessionSeen>),
    /// The page of keys.
    Help,
}

/// A line that stands until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) words: String,
    /// Whether something did not work.
    pub(super) bad: bool,
}

/// No look came about since.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) since: Instant,
    pub(super) words: String,
}

/// The row that keys act on.
#[derive(Clone, Debug, Default)]
struct ChosenRow {
    /// Its place in the whole list.
    place: usize,
    /// The session that was chosen: its row is followed while the list moves.
    chosen: Option<String>,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) stats: StatsSeen,
    /// The counters one look before, and how long before.
    pub(super) before: Option<(StatsSeen, Duration)>,
    looked: Instant,
    pub(super) history: HistorySeen,
    pub(super) ranked_by: RankedBy,
    pub(super) talkers: TalkersSeen,
    pub(super) talker_kind: KindOfTalker,
    pub(super) gone: Option<Gone>,
    pub(super) paused: bool,
    pub(super) mode: TopMode,
    pub(super) note: Option<Note>,
    pub(super) listing: AskedList,
    /// The filter that the endpoint took last.
    taken: TypedFilter,
    pub(super) sessions: SessionsSeen,
    /// The place of the first of `sessions` in the whole list.
    offset: usize,
    cursor: ChosenRow,
    /// The place of the first row on the screen.
    first: usize,
    /// How many rows the screen has.
    rows: usize,
    /// What was asked for last.
    asked: AskedPage,
}

/// What is asked for before anybody has said anything, on a screen of so many rows.
pub(super) fn first_page(rows: usize) -> AskedPage {
    let listing = AskedList { filter: TypedFilter::default(), sorted_by: SortedBy::Age, descending: true };
    AskedPage { listing, offset: 0, limit: limit(rows) }
}

fn limit(rows: usize) -> usize {
    (rows + 2 * limits::TOP_ROWS_AROUND).min(limits::TOP_ROWS_MAX)
}

impl Model {
    /// What the first look shows.
    pub(super) fn new(look: Look, now: Instant) -> Model {
        let mut model = Model {
            stats: StatsSeen::default(),
            before: None,
            looked: now,
            history: HistorySeen::default(),
            ranked_by: look.ranked_by,
            talkers: TalkersSeen::default(),
            talker_kind: KindOfTalker::default(),
            gone: None,
            paused: false,
            mode: TopMode::Table,
            note: None,
            listing: look.page.listing.clone(),
            taken: look.page.listing.filter.clone(),
            sessions: SessionsSeen::default(),
            offset: 0,
            cursor: ChosenRow::default(),
            first: 0,
            rows: 1,
            asked: look.page.clone(),
        };
        model.take_look(look, now);
        model.before = None;
        model
    }

    /// Takes in what came of a look.
    pub(super) fn take(&mut self, report: LookReport, now: Instant) {
        match report {
            LookReport::Looked(look) => self.take_look(*look, now),
            LookReport::Listed(page, sessions) => self.take_sessions(&page, sessions),
            LookReport::Ranked(by, talkers) => self.take_talkers(by, talkers),
            LookReport::Ended(id, outcome) => self.note = Some(note_of_end(&id, &outcome)),
            LookReport::Missed(trouble) => {
                let since = self.gone.as_ref().map_or(self.looked, |gone| gone.since);
                self.gone = Some(Gone { since, words: trouble.words().to_owned() });
            }
        }
    }

    fn take_look(&mut self, look: Look, now: Instant) {
        let before = std::mem::replace(&mut self.stats, look.stats);
        self.before = Some((before, now.saturating_duration_since(self.looked)));
        (self.looked, self.gone) = (now, None);
        self.history = look.history;
        self.take_talkers(look.ranked_by, look.talkers);
        self.take_sessions(&look.page, look.sessions);
    }

    /// What was asked for before the ranking changed says nothing any more.
    fn take_talkers(&mut self, by: RankedBy, talkers: TalkersSeen) {
        if by == self.ranked_by {
            self.talkers = talkers;
        }
    }

    fn take_sessions(&mut self, page: &AskedPage, sessions: Result<SessionsSeen, Trouble>) {
        // An answer to what was asked for before.
        if page.listing != self.listing {
            return;
        }
        match sessions {
            Ok(sessions) => {
                (self.sessions, self.offset) = (sessions, page.offset);
                self.taken = self.listing.filter.clone();
                self.follow();
            }
            Err(trouble @ Trouble::Refused { asked_wrong: true, .. }) => {
                self.note = Some(Note { words: trouble.words().to_owned(), bad: true });
                self.listing.filter = self.taken.clone();
            }
            Err(trouble) => self.note = Some(Note { words: trouble.words().to_owned(), bad: true }),
        }
    }

    /// Keeps the cursor on the session that was chosen, or else at its place.
    fn follow(&mut self) {
        let chosen = self.cursor.chosen.as_deref();
        let at = chosen.and_then(|id| self.sessions.sessions.iter().position(|session| session.id == id));
        if let Some(at) = at {
            self.cursor.place = self.offset + at;
        }
        self.cursor.place = self.cursor.place.min(self.sessions.matched.saturating_sub(1));
        self.scroll();
    }

    /// Has the cursor among the rows of the screen, and no row empty that need not be.
    fn scroll(&mut self) {
        let last = self.sessions.matched.saturating_sub(self.rows);
        let lowest = (self.cursor.place + 1).saturating_sub(self.rows);
        self.first = self.first.clamp(lowest, self.cursor.place.max(lowest)).min(last);
    }

    /// Moves the cursor by so many rows.
    pub(super) fn move_by(&mut self, rows: isize) {
        self.move_to(self.cursor.place.saturating_add_signed(rows));
    }

    /// Moves the cursor to a place of the whole list, or to its last one.
    pub(super) fn move_to(&mut self, place: usize) {
        self.cursor.place = place.min(self.sessions.matched.saturating_sub(1));
        // The first row is where one begins, not one that was chosen: there the list moves by.
        let chosen = self.selected().filter(|_| place > 0).map(|session| session.id.clone());
        self.cursor.chosen = chosen;
        self.scroll();
    }

    /// The rows of a page.
    pub(super) fn page_rows(&self) -> usize {
        self.rows.saturating_sub(1).max(1)
    }

    /// Begins at the top of the list, as another one is shown.
    pub(super) fn back_to_top(&mut self) {
        (self.cursor, self.first) = (ChosenRow::default(), 0);
    }

    /// Says how many rows the screen has for sessions.
    pub(super) fn set_rows(&mut self, rows: usize) {
        self.rows = rows.clamp(1, limits::TOP_ROWS_MAX - 2 * limits::TOP_ROWS_AROUND);
        self.scroll();
    }

    /// The places that the screen shows.
    pub(super) fn shown(&self) -> Range<usize> {
        self.first..(self.first + self.rows).min(self.sessions.matched)
    }

    /// The session at a place, where it is known.
    pub(super) fn at(&self, place: usize) -> Option<&SessionSeen> {
        self.sessions.sessions.get(place.checked_sub(self.offset)?)
    }

    /// The session under the cursor.
    pub(super) fn selected(&self) -> Option<&SessionSeen> {
        self.at(self.cursor.place)
    }

    /// The cursor's place.
    pub(super) fn place(&self) -> usize {
        self.cursor.place
    }

    /// What is to be asked for, where the screen shows something else than what was asked for.
    pub(super) fn next_page(&self) -> Option<AskedPage> {
        let shown = self.shown();
        let asked = self.asked.offset..self.asked.offset + self.asked.limit;
        let has_all = shown.is_empty() || (asked.contains(&shown.start) && shown.end <= asked.end);
        if has_all && self.asked.listing == self.listing {
            return None;
        }
        let offset = shown.start.saturating_sub(limits::TOP_ROWS_AROUND);
        Some(AskedPage { listing: self.listing.clone(), offset, limit: limit(self.rows) })
    }

    /// Remembers what was asked for.
    pub(super) fn asked_for(&mut self, page: AskedPage) {
        self.asked = page;
    }
}

fn note_of_end(id: &str, outcome: &Result<u64, Trouble>) -> Note {
    match outcome {
        Ok(0) => Note { words: format!("session {id} had ended by itself"), bad: true },
        Ok(_) => Note { words: format!("session {id} is ended"), bad: false },
        Err(trouble) => Note { words: format!("session {id} is not ended: {}", trouble.words()), bad: true },
    }
}

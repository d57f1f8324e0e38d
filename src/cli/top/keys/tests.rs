//! Keys as they are pressed, and what is shown and asked for then.

use std::time::{Duration, Instant};

use super::*;
use crate::cli::top::look::{LookReport, Trouble};
use crate::cli::top::query::{RankedBy, SortedBy};
use crate::cli::top::sample::MadeUp;

/// A model on a screen with 10 rows for sessions, with what it asks for answered.
fn model(sessions: usize) -> (Model, MadeUp) {
    let endpoint = MadeUp::busy(sessions);
    let mut model = endpoint.model(Instant::now());
    model.set_rows(10);
    endpoint.answer(&mut model);
    (model, endpoint)
}

fn key(model: &mut Model, code: KeyCode) -> Option<Deed> {
    press(model, KeyEvent::new(code, KeyModifiers::NONE))
}

fn typed(model: &mut Model, text: &str) {
    for c in text.chars() {
        assert_eq!(key(model, KeyCode::Char(c)), None, "{c}");
    }
}

fn control(model: &mut Model, c: char) -> Option<Deed> {
    press(model, KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
}

fn selected(model: &Model) -> &str {
    &model.selected().expect("a session").id
}

#[test]
fn quit_is_one_key_away_but_where_text_is_typed() {
    let (mut model, _) = model(20);
    assert_eq!(key(&mut model, KeyCode::Char('q')), Some(Deed::Quit));
    typed(&mut model, "/q");
    assert!(matches!(&model.mode, TopMode::Typing(line) if line == "q"));
    assert_eq!(control(&mut model, 'z'), Some(Deed::Stop));
    assert_eq!(control(&mut model, 'c'), Some(Deed::Quit));
    let released = KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::from(KeyCode::Char('q')) };
    key(&mut model, KeyCode::Esc);
    assert_eq!(press(&mut model, released), None);
}

#[test]
fn the_table_is_sorted_by_each_column_both_ways() {
    let (mut model, _) = model(20);
    assert!(model.next_page().is_none());
    key(&mut model, KeyCode::Char('S'));
    assert_eq!(model.next_page().unwrap().path(), "/api/v1/sessions?sort=age&limit=130");
    key(&mut model, KeyCode::Char('s'));
    assert_eq!((model.listing.sorted_by, model.listing.descending), (SortedBy::User, false));
    typed(&mut model, "ssss");
    assert_eq!(model.next_page().unwrap().path(), "/api/v1/sessions?sort=-rate&limit=130");
}

#[test]
fn a_filter_that_is_typed_is_asked_for() {
    let (mut model, endpoint) = model(200);
    key(&mut model, KeyCode::End);
    endpoint.answer(&mut model);
    typed(&mut model, "/user=annx");
    key(&mut model, KeyCode::Backspace);
    assert!(model.next_page().is_none(), "before it is confirmed");
    key(&mut model, KeyCode::Enter);
    assert_eq!(model.next_page().unwrap().path(), "/api/v1/sessions?sort=-age&limit=130&user=ann");
    assert_eq!((model.place(), model.shown()), (0, 0..10));
    endpoint.answer(&mut model);
    // The line begins with what holds now, and leaves it alone without Enter.
    typed(&mut model, "/");
    assert!(matches!(&model.mode, TopMode::Typing(line) if line == "user=ann"));
    control(&mut model, 'u');
    key(&mut model, KeyCode::Esc);
    assert_eq!((model.listing.filter.text(), model.next_page()), ("user=ann", None));
    typed(&mut model, "/");
    control(&mut model, 'u');
    key(&mut model, KeyCode::Enter);
    assert_eq!(model.next_page().unwrap().path(), "/api/v1/sessions?sort=-age&limit=130");
}

#[test]
fn a_filter_that_is_none_is_said_and_can_be_mended() {
    let (mut model, _) = model(20);
    typed(&mut model, "/ann");
    key(&mut model, KeyCode::Enter);
    assert!(model.note.as_ref().unwrap().words.contains("`ann` is no filter"));
    assert!(matches!(&model.mode, TopMode::Typing(line) if line == "ann"));
    for _ in 0..3 {
        key(&mut model, KeyCode::Backspace);
    }
    typed(&mut model, "user=ann");
    key(&mut model, KeyCode::Enter);
    assert_eq!((&model.note, model.listing.filter.text()), (&None, "user=ann"));
}

#[test]
fn a_filter_that_the_endpoint_refuses_gives_way_to_the_one_before() {
    let (mut model, endpoint) = model(20);
    typed(&mut model, "/user=ann");
    key(&mut model, KeyCode::Enter);
    endpoint.answer(&mut model);
    typed(&mut model, "/ usr=bob");
    key(&mut model, KeyCode::Enter);
    let page = model.next_page().unwrap();
    model.asked_for(page.clone());
    let words = "unknown parameter `usr`: did you mean `user`?".to_owned();
    let refused = Trouble::Refused { asked_wrong: true, words: words.clone() };
    model.take(LookReport::Listed(page, Err(refused)), Instant::now());
    assert_eq!(
        (model.note.as_ref().unwrap().words.as_str(), model.listing.filter.text()),
        (words.as_str(), "user=ann")
    );
    assert_eq!(model.next_page().unwrap().path(), "/api/v1/sessions?sort=-age&limit=130&user=ann");
}

#[test]
fn what_is_pasted_is_text_and_never_keys() {
    let (mut model, _) = model(20);
    paste(&mut model, "kyq");
    assert!(matches!(model.mode, TopMode::Table));
    typed(&mut model, "/");
    paste(&mut model, "user=\x1b[2Jann\n");
    assert!(matches!(&model.mode, TopMode::Typing(line) if line == "user=[2Jann"));
    paste(&mut model, &"x".repeat(10_000));
    assert!(matches!(&model.mode, TopMode::Typing(line) if line.len() == limits::TOP_FILTER_CHARS_MAX));
}

#[test]
fn a_session_is_ended_after_y_and_after_nothing_else() {
    let (mut model, endpoint) = model(20);
    key(&mut model, KeyCode::Down);
    key(&mut model, KeyCode::Char('k'));
    for code in [KeyCode::Enter, KeyCode::Char('k'), KeyCode::Down, KeyCode::Char('s')] {
        assert_eq!(key(&mut model, code), None);
        assert!(matches!(model.mode, TopMode::Asked(_)), "{code:?}");
    }
    for code in [KeyCode::Esc, KeyCode::Char('n'), KeyCode::Char('q')] {
        assert_eq!(key(&mut model, code), None);
        assert!(matches!(model.mode, TopMode::Table), "{code:?}");
        key(&mut model, KeyCode::Char('k'));
    }
    // The list moves while it is asked: it is the one that was asked about that ends.
    let mut moved = endpoint.clone();
    moved.sessions.remove(0);
    model.take(LookReport::Looked(Box::new(moved.look())), Instant::now());
    let id = "00c0ffee000000000001".to_owned();
    assert_eq!(key(&mut model, KeyCode::Char('y')), Some(Deed::Ask(Ask::End(id))));
    assert!(matches!(model.mode, TopMode::Table));
}

#[test]
fn what_became_of_an_end_is_said() {
    let (mut model, _) = model(1);
    let mut said = |outcome| {
        model.take(LookReport::Ended("7f".to_owned(), outcome), Instant::now());
        let note = model.note.clone().unwrap();
        (note.words, note.bad)
    };
    assert_eq!(said(Ok(1)), ("session 7f is ended".to_owned(), false));
    assert_eq!(said(Ok(0)), ("session 7f had ended by itself".to_owned(), true));
    let gone = Trouble::Gone("nobody answers".to_owned());
    assert_eq!(said(Err(gone)), ("session 7f is not ended: nobody answers".to_owned(), true));
}

#[test]
fn without_a_session_there_is_none_to_end() {
    let (mut model, _) = model(0);
    for code in [KeyCode::Up, KeyCode::Down, KeyCode::End, KeyCode::PageDown, KeyCode::Home] {
        key(&mut model, code);
        assert_eq!((model.place(), model.shown(), model.next_page()), (0, 0..0, None));
    }
    key(&mut model, KeyCode::Char('k'));
    assert_eq!(model.note.as_ref().unwrap().words, "no session is chosen");
    assert!(matches!(model.mode, TopMode::Table));
}

#[test]
fn the_cursor_goes_through_all_of_20000_sessions() {
    let (mut model, endpoint) = model(20_000);
    key(&mut model, KeyCode::PageDown);
    assert_eq!((model.place(), model.shown()), (9, 0..10));
    key(&mut model, KeyCode::PageDown);
    assert_eq!((model.place(), model.shown(), model.next_page()), (18, 9..19, None));
    key(&mut model, KeyCode::Home);
    assert_eq!((model.place(), model.shown()), (0, 0..10));
    key(&mut model, KeyCode::End);
    assert_eq!((model.place(), model.shown()), (19_999, 19_990..20_000));
    assert!(model.at(19_990).is_none(), "its page is yet to come");
    assert_eq!(model.next_page().unwrap().path(), "/api/v1/sessions?sort=-age&limit=130&offset=19930");
    endpoint.answer(&mut model);
    assert_eq!(selected(&model), "00c0ffee000000004e1f");
    for _ in 0..200 {
        key(&mut model, KeyCode::Up);
        endpoint.answer(&mut model);
        assert!(model.shown().all(|place| model.at(place).is_some()));
    }
    assert_eq!((model.place(), selected(&model)), (19_799, "00c0ffee000000004d57"));
}

#[test]
fn a_chosen_session_is_followed_while_the_list_moves() {
    let (mut model, endpoint) = model(200);
    for _ in 0..5 {
        key(&mut model, KeyCode::Down);
    }
    let chosen = selected(&model).to_owned();
    let mut moved = endpoint.clone();
    moved.sessions.drain(0..3);
    model.take(LookReport::Looked(Box::new(moved.look())), Instant::now());
    assert_eq!((model.place(), selected(&model)), (2, chosen.as_str()));
    // Once it is gone the cursor stays where it was.
    moved.sessions.remove(2);
    model.take(LookReport::Looked(Box::new(moved.look())), Instant::now());
    assert_eq!((model.place(), selected(&model)), (2, "00c0ffee000000000006"));
    moved.sessions.truncate(1);
    model.take(LookReport::Looked(Box::new(moved.look())), Instant::now());
    assert_eq!((model.place(), model.shown()), (0, 0..1));
}

#[test]
fn at_the_top_nobody_was_chosen_and_the_list_moves_by() {
    let (mut model, mut endpoint) = model(200);
    key(&mut model, KeyCode::Down);
    key(&mut model, KeyCode::Home);
    endpoint.sessions.rotate_right(1);
    model.take(LookReport::Looked(Box::new(endpoint.look())), Instant::now());
    assert_eq!((model.place(), selected(&model)), (0, "00c0ffee0000000000c7"));
}

#[test]
fn an_answer_to_what_was_asked_before_is_none_to_what_is_asked_now() {
    let (mut model, endpoint) = model(20);
    let late = endpoint.look();
    key(&mut model, KeyCode::Char('s'));
    key(&mut model, KeyCode::Char('b'));
    let (before, ranked) = (model.sessions.sessions.len(), model.talkers.users.len());
    let mut other = late.clone();
    other.sessions = Ok(Default::default());
    other.talkers = Default::default();
    model.take(LookReport::Looked(Box::new(other)), Instant::now());
    assert_eq!((model.sessions.sessions.len(), model.talkers.users.len()), (before, ranked));
}

#[test]
fn what_is_ranked_and_how_is_one_key_each() {
    let (mut model, _) = model(1);
    let words: Vec<&str> = (0..4)
        .map(|_| {
            let word = model.talker_kind.word();
            key(&mut model, KeyCode::Char('t'));
            word
        })
        .collect();
    assert_eq!(words, ["users", "sources", "targets", "users"]);
    assert_eq!(key(&mut model, KeyCode::Char('b')), Some(Deed::Ask(Ask::Rank(RankedBy::Sessions))));
    assert_eq!(key(&mut model, KeyCode::Char('b')), Some(Deed::Ask(Ask::Rank(RankedBy::Bytes))));
}

#[test]
fn it_pauses_and_goes_on_and_looks_when_told() {
    let (mut model, _) = model(1);
    assert_eq!(key(&mut model, KeyCode::Char('p')), Some(Deed::Ask(Ask::Pause(true))));
    assert!(model.paused);
    assert_eq!(key(&mut model, KeyCode::Char('r')), Some(Deed::Ask(Ask::Everything)));
    assert_eq!(key(&mut model, KeyCode::Char('p')), Some(Deed::Ask(Ask::Pause(false))));
    assert!(!model.paused);
}

#[test]
fn help_is_left_by_escape_and_by_the_key_that_opened_it() {
    let (mut model, _) = model(1);
    for code in [KeyCode::Esc, KeyCode::Char('?'), KeyCode::Char('q')] {
        key(&mut model, KeyCode::Char('?'));
        assert!(matches!(model.mode, TopMode::Help));
        assert_eq!(key(&mut model, KeyCode::Char('k')), None);
        assert!(matches!(model.mode, TopMode::Help), "keys of the table do nothing behind it");
        assert_eq!(key(&mut model, code), None);
        assert!(matches!(model.mode, TopMode::Table));
    }
}

#[test]
fn the_last_figures_stay_while_nobody_answers() {
    let (mut model, endpoint) = model(20);
    let began = Instant::now() + Duration::from_secs(100);
    model.take(LookReport::Looked(Box::new(endpoint.look())), began);
    for later in 1..4 {
        let gone = Trouble::Gone("nothing listens there".to_owned());
        model.take(LookReport::Missed(gone), began + Duration::from_secs(later));
    }
    let gone = model.gone.as_ref().unwrap();
    assert_eq!((gone.since, gone.words.as_str()), (began, "nothing listens there"));
    assert_eq!((model.sessions.matched, model.stats.counter("active")), (20, 20.0));
    model.take(LookReport::Looked(Box::new(endpoint.look())), began + Duration::from_secs(5));
    assert!(model.gone.is_none());
}

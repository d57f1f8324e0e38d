//! Latencies, why sessions were refused and failed, and who moves most.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::line::{LABEL, Pieces};
use crate::cli::top::model::{KindOfTalker, Model};
use crate::cli::top::query::RankedBy;
use crate::cli::top::seen::{LimitSeen, NumbersSeen, SpreadSeen, TalkerSeen};
use crate::cli::top::text;
use crate::cli::top::theme::Theme;
use crate::cli::units::{bytes, grouped};

/// What is timed, as the endpoint calls it and as the column is called; what matters most comes first.
const TIMED: [(&str, &str); 8] = [
    ("handshake", "handshake"),
    ("dns", "dns"),
    ("connect", "connect"),
    ("first_byte", "1st byte"),
    ("turn", "turn"),
    ("delay", "delay"),
    ("session", "session"),
    ("auth", "auth"),
];

/// A row of the latencies' table: its name and which figure it has.
type QuantileRow = (&'static str, fn(&SpreadSeen) -> Option<f64>);

/// The last minute's latencies.
pub(super) fn latencies(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    const ALL: [QuantileRow; 5] = [
        ("p50", |spread| spread.p50_ms),
        ("p90", |spread| spread.p90_ms),
        ("p99", |spread| spread.p99_ms),
        ("p99.9", |spread| spread.p999_ms),
        ("max", |spread| spread.max_ms),
    ];
    const FEW: [QuantileRow; 2] = [ALL[0], ALL[2]];
    let mut rows = area.rows();
    let Some(head) = rows.next() else { return };
    let columns = usize::from(area.width.saturating_sub(8));
    let columns_each = (columns / TIMED.len()).clamp(9, 14);
    let mut line = Pieces::new(area.width);
    line.add(text::left("latency", 8, theme.utf8), theme.label());
    for (_, name) in TIMED {
        line.add(text::right(name, columns_each, theme.utf8), theme.label());
    }
    line.put_in(buffer, head);
    let quantiles: &[QuantileRow] = if area.height > 5 { &ALL } else { &FEW };
    for (row, (name, figure)) in rows.zip(quantiles) {
        let mut line = Pieces::new(row.width);
        line.add(text::left(name, 8, theme.utf8), theme.label());
        for (timed, _) in TIMED {
            let spread = model.stats.latencies.get(timed).copied().flatten();
            // What did not happen within the minute took no time, and not 0.
            let spread = spread.filter(|spread| spread.count != Some(0));
            let shown = spread.as_ref().and_then(figure).map_or_else(|| "-".to_owned(), text::millis);
            line.add(text::right(&shown, columns_each, theme.utf8), Style::new());
        }
        line.put_in(buffer, row);
    }
}

/// Counters by the beginning of their names, and what of the name is the cause.
struct CauseGroup {
    label: &'static str,
    /// Whole names and the words for them.
    named: &'static [(&'static str, &'static str)],
    /// Beginnings of names; the rest is the word.
    begun: &'static [&'static str],
}

const REFUSED: CauseGroup = CauseGroup {
    label: "refused",
    named: &[
        ("closed_auth_failed", "auth_failed"),
        ("closed_bad_parameters", "bad_parameters"),
        ("closed_no_method", "no_method"),
        ("closed_protocol", "protocol"),
        ("closed_http", "http"),
        ("closed_tls", "tls"),
        ("closed_protection", "protection"),
    ],
    // Tells apart what `closed_denied` has as one number.
    begun: &["denied_"],
};

const FAILED: CauseGroup = CauseGroup {
    label: "failed",
    named: &[
        ("closed_dns_failed", "dns"),
        ("closed_connect_failed", "connect"),
        ("closed_connect_timeout", "connect_timeout"),
        ("closed_parent_failed", "parent"),
        ("closed_bad_response", "bad_response"),
        ("closed_associate_failed", "associate"),
        ("closed_handshake_timeout", "handshake_timeout"),
        ("closed_client_reset", "client_reset"),
        ("closed_target_reset", "target_reset"),
        ("closed_internal", "internal"),
        ("no_local_port", "no_local_port"),
        ("accept_paused_descriptors", "accept_paused_descriptors"),
        ("accept_paused_system_descriptors", "accept_paused_system_descriptors"),
        ("accept_paused_memory", "accept_paused_memory"),
        ("accept_paused_other", "accept_paused_other"),
        ("shed_queue", "shed_queue"),
        ("shed_connections", "shed_connections"),
        ("shed_descriptors", "shed_descriptors"),
        ("shed_memory", "shed_memory"),
        ("stalls", "stalls"),
        ("worker_panics", "worker_panics"),
    ],
    begun: &[],
};

const DROPPED: CauseGroup = CauseGroup {
    label: "dropped",
    named: &[("records_lost", "records"), ("log_lines_lost", "log lines")],
    begun: &["udp_dropped_"],
};

/// Why sessions were refused, why they failed, and why datagrams were dropped: since the start, with what is added now.
pub(super) fn causes(buffer: &mut Buffer, areas: [Rect; 3], model: &Model, theme: Theme) {
    for (area, group) in areas.into_iter().zip([REFUSED, FAILED, DROPPED]) {
        tallies(buffer, area, group.label, causes_of(&group, model), theme);
    }
}

/// How often each rule decided: since the start, with what is added now.
pub(super) fn rules(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let more = |rule: &str, hits: f64| {
        let (stats, elapsed) = model.before.as_ref()?;
        Some((hits - stats.hits(rule)) / elapsed.as_secs_f64()).filter(|more| more.is_finite())
    };
    let decided = model.stats.rules.iter().filter_map(|seen| Some((&seen.rule, seen.hits?)));
    let mut tally: Vec<CauseTally> = decided
        .filter(|(_, hits)| *hits > 0.0)
        .map(|(rule, hits)| (rule.clone(), hits, more(rule, hits).unwrap_or_default()))
        .collect();
    tally.sort_by(|one, other| other.2.total_cmp(&one.2).then(other.1.total_cmp(&one.1)));
    tallies(buffer, area, "rules", tally, theme);
}

/// How full limits are, the fullest first: what the subject has used of whose limit the least is left, and how often a
/// second the limit is reached now.
pub(super) fn limits(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let more = |limit: &LimitSeen| {
        let (stats, elapsed) = model.before.as_ref()?;
        let more = (limit.reached? - stats.reached(&limit.limit)) / elapsed.as_secs_f64();
        Some(more).filter(|more| more.is_finite() && *more > 0.0)
    };
    let mut fullest: Vec<(&LimitSeen, f64)> =
        model.stats.limits.iter().filter_map(|seen| Some((seen, seen.fill?))).collect();
    fullest.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let pieces = fullest.into_iter().map(|(limit, fill)| {
        let more = more(limit).map(|more| format!(" +{}/s", text::rate(more))).unwrap_or_default();
        let style = if more.is_empty() { Style::new() } else { theme.strong() };
        (format!("{} {:.0}%{more}", text::name(&limit.limit, theme.utf8), fill * 100.0), style)
    });
    in_row(buffer, area, "limits", pieces.collect(), theme);
}

/// How the pools' addresses stand: how many of all serve, which do not, and how many sessions leave from them; first those of
/// which an address does not serve.
pub(super) fn pools(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let pools = model.stats.egress.iter().map(|pool| StandingSeen {
        name: &pool.egress,
        states: &pool.addresses,
        serve: &["serving"],
        words: &[(&["cooled", "probed"], "cooled"), (&["drained"], "drained")],
        sessions: pool.sessions_active,
    });
    standing(buffer, area, "pools", pools.collect(), theme);
}

/// The same of the parents' servers, and of the sessions that go through them.
pub(super) fn parents(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let parents = model.stats.parents.iter().map(|parent| StandingSeen {
        name: &parent.parent,
        states: &parent.servers,
        serve: &["up", "backup"],
        words: &[(&["down"], "down"), (&["drained"], "drained")],
        sessions: parent.sessions_active,
    });
    standing(buffer, area, "parents", parents.collect(), theme);
}

/// Something of which each part is in some state.
struct StandingSeen<'a> {
    name: &'a str,
    states: &'a NumbersSeen,
    /// The states in which a part serves.
    serve: &'static [&'static str],
    /// The others, and the word for them.
    words: &'static [(&'static [&'static str], &'static str)],
    sessions: Option<f64>,
}

impl StandingSeen<'_> {
    /// How many of its parts are in one of these states; none is 0.
    fn count(&self, states: &[&str]) -> u64 {
        states.iter().map(|state| self.states.get(*state).copied().flatten().unwrap_or_default() as u64).sum()
    }

    /// What does not serve; empty where all does.
    fn left_alone(&self) -> String {
        let counted = self.words.iter().map(|(states, word)| (self.count(states), word));
        counted.filter(|(count, _)| *count > 0).map(|(count, word)| format!(" {count} {word}")).collect()
    }
}

fn standing(buffer: &mut Buffer, area: Rect, label: &str, seen: Vec<StandingSeen<'_>>, theme: Theme) {
    let mut seen: Vec<_> = seen.into_iter().map(|one| (one.left_alone(), one)).collect();
    seen.sort_by_key(|(left_alone, _)| left_alone.is_empty());
    let pieces = seen.into_iter().map(|(left_alone, one)| {
        let all = one.words.iter().map(|(states, _)| one.count(states)).sum::<u64>() + one.count(one.serve);
        let style = if left_alone.is_empty() { Style::new() } else { theme.strong() };
        let (name, serving) = (text::name(one.name, theme.utf8), one.count(one.serve));
        let sessions = grouped(one.sessions.unwrap_or_default() as u64);
        (format!("{name} {serving}/{all}{left_alone} ({sessions})"), style)
    });
    in_row(buffer, area, label, pieces.collect(), theme);
}

/// A word, how often, and how often a second now.
type CauseTally = (String, f64, f64);

/// Tallies in one row, as many as there is room for.
fn tallies(buffer: &mut Buffer, area: Rect, label: &str, tallies: Vec<CauseTally>, theme: Theme) {
    let pieces = tallies.into_iter().map(|(word, total, more)| {
        let more = if more > 0.0 { format!(" +{}/s", text::rate(more)) } else { String::new() };
        let style = if more.is_empty() { Style::new() } else { theme.strong() };
        (format!("{} {}{more}", text::name(&word, theme.utf8), grouped(total as u64)), style)
    });
    in_row(buffer, area, label, pieces.collect(), theme);
}

/// Pieces in one row, as many as there is room for.
fn in_row(buffer: &mut Buffer, area: Rect, label: &str, pieces: Vec<(String, Style)>, theme: Theme) {
    if area.height == 0 {
        return;
    }
    let mut line = Pieces::new(area.width);
    line.add(text::left(label, LABEL, theme.utf8), theme.label());
    if pieces.is_empty() {
        line.add("none", Style::new());
    }
    let last = pieces.len().saturating_sub(1);
    for (at, (piece, style)) in pieces.into_iter().enumerate() {
        // Where others follow there has to be room for the mark that says so.
        let behind = if at < last { 3 } else { 0 };
        if text::width(&piece) + behind > line.left() {
            line.add(if theme.utf8 { "…" } else { "~" }, Style::new());
            break;
        }
        line.add(piece, style);
        line.add("  ", Style::new());
    }
    line.put_in(buffer, area);
}

/// The causes that there were: their words, how often, and how often a second now; first those that come now.
fn causes_of(group: &CauseGroup, model: &Model) -> Vec<CauseTally> {
    let before = |name: &str, total: f64| {
        let (stats, elapsed) = model.before.as_ref()?;
        Some((total - stats.counter(name)) / elapsed.as_secs_f64()).filter(|more| more.is_finite())
    };
    let word = |name: &str| {
        let named = group.named.iter().find(|(whole, _)| *whole == name).map(|(_, word)| *word);
        named.or_else(|| group.begun.iter().find_map(|begin| name.strip_prefix(begin))).map(str::to_owned)
    };
    let counters = model.stats.counters.iter();
    let counters = counters.filter_map(|(name, total)| Some((name, word(name)?, (*total)?)));
    let mut causes: Vec<CauseTally> = counters
        .filter(|(_, _, total)| *total > 0.0)
        .map(|(name, word, total)| (word, total, before(name, total).unwrap_or_default()))
        .collect();
    causes.sort_by(|one, other| other.2.total_cmp(&one.2).then(other.1.total_cmp(&one.1)));
    causes
}

/// Who moved most in the last minute: in one row the kind that is chosen, in more of them a table.
pub(super) fn talkers(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    match area.height {
        0 => {}
        1 => in_one_row(buffer, area, model, theme),
        _ => {
            let kinds = if area.width >= 110 { KindOfTalker::ALL.len() } else { 1 };
            let width = area.width / kinds as u16;
            let mut kind = model.talker_kind;
            for at in 0..kinds as u16 {
                let part = Rect { x: area.x + at * width, width: width.saturating_sub(2), ..area };
                as_table(buffer, part, kind, model, theme);
                kind = kind.next();
            }
        }
    }
}

fn of_kind(model: &Model, kind: KindOfTalker) -> &[TalkerSeen] {
    match kind {
        KindOfTalker::Users => &model.talkers.users,
        KindOfTalker::Sources => &model.talkers.sources,
        KindOfTalker::Targets => &model.talkers.targets,
    }
}

fn figure(talker: &TalkerSeen, by: RankedBy) -> String {
    match by {
        RankedBy::Bytes => bytes(talker.bytes.unwrap_or_default()),
        RankedBy::Sessions => grouped(talker.sessions.unwrap_or_default()),
    }
}

fn in_one_row(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let mut line = Pieces::new(area.width);
    line.add(text::left(model.talker_kind.word(), LABEL, theme.utf8), theme.label());
    let talkers = of_kind(model, model.talker_kind);
    if talkers.is_empty() {
        line.add("none in the last minute", Style::new());
    }
    for talker in talkers {
        // A long name leaves room for others.
        let name = text::cut(&text::name(&talker.name, theme.utf8), 24, theme.utf8);
        let figure = figure(talker, model.ranked_by);
        if text::width(&name) + figure.len() + 3 > line.left() {
            break;
        }
        line.add(name + " ", theme.strong());
        line.add(figure + "  ", Style::new());
    }
    line.put_in(buffer, area);
}

fn as_table(buffer: &mut Buffer, area: Rect, kind: KindOfTalker, model: &Model, theme: Theme) {
    let mut rows = area.rows();
    let Some(head) = rows.next() else { return };
    const FIGURES: usize = 9 + 10;
    let names = usize::from(area.width).saturating_sub(FIGURES);
    let style = |by| if model.ranked_by == by { theme.sorted() } else { theme.head() };
    let mut line = Pieces::new(head.width);
    line.add(text::left(&format!("top {}", kind.word()), names, theme.utf8), theme.head());
    line.add(text::right("bytes", 9, theme.utf8), style(RankedBy::Bytes));
    line.add(text::right("sessions", 10, theme.utf8), style(RankedBy::Sessions));
    line.put_in(buffer, head);
    let talkers = of_kind(model, kind);
    if talkers.is_empty()
        && let Some(row) = rows.next()
    {
        let mut line = Pieces::new(row.width);
        line.add_cut("none in the last minute", theme.utf8, Style::new());
        line.put_in(buffer, row);
    }
    for (row, talker) in rows.zip(talkers) {
        let mut line = Pieces::new(row.width);
        line.add(text::left(&text::name(&talker.name, theme.utf8), names, theme.utf8), Style::new());
        line.add(text::right(&figure(talker, RankedBy::Bytes), 9, theme.utf8), Style::new());
        line.add(text::right(&figure(talker, RankedBy::Sessions), 10, theme.utf8), Style::new());
        line.put_in(buffer, row);
    }
}

//! The one list of what is counted. An entry gives the count its cell, its field in the log's line, and its metric's
//! name, type and help; whoever sums, logs or exposes counts goes through [`METRICS`].

use crate::outcome::Reason;
use crate::relay::Engine;
use crate::relay::datagram::Drop;

/// How a value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// It only grows.
    Counter,
    /// It is as large as something is now.
    Gauge,
}

/// Whether the log's line has a count that is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logged {
    Always,
    NotZero,
}

/// What a metric's values are told apart by, and its words in the order of their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub key: &'static str,
    /// How many words there are.
    pub count: usize,
    /// The word of a number below `count`.
    pub word: fn(usize) -> &'static str,
}

/// One entry of the list: a value, or one for each word of its labels.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, without the prefix of the program.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricType,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// What its values are told apart by; the last label's words change first.
    pub labels: &'static [Label],
    log_name: &'static str,
    logged: Logged,
}

/// A type whose values are words of a label.
trait LabelWord: Copy + 'static {
    const COUNT: usize;
    fn word(number: usize) -> &'static str;
}

macro_rules! words {
    ($($label:ty),+) => {$(
        impl LabelWord for $label {
            const COUNT: usize = <$label>::ALL.len();
            fn word(number: usize) -> &'static str {
                <$label>::ALL[number].name()
            }
        }
    )+};
}

words!(Reason, Direction, Engine, LoginResult, PipeState, Drop);

/// Makes of a list of entries the enum [`Counted`], its cells' indexes, and [`METRICS`].
macro_rules! counted {
    ($(
        $(#[doc = $help:literal])+
        $name:ident $(($($key:ident: $label:ty),+))? = $kind:ident $metric:literal, $logged:ident $log_name:literal;
    )+) => {
        /// What can be counted; an entry that has labels comes with a word for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counted {
            $($(#[doc = $help])+ $name $(($($label),+))?,)+
        }

        /// The entries' numbers.
        enum Entry {
            $($name,)+
        }

        /// Every entry, in the order of the log's line.
        pub const METRICS: &[Metric] = &[$(
            Metric {
                name: $metric,
                kind: MetricType::$kind,
                help: concat!($($help),+).trim_ascii(),
                labels: &[$($(Label {
                    key: stringify!($key),
                    count: <$label as LabelWord>::COUNT,
                    word: <$label as LabelWord>::word,
                }),+)?],
                log_name: $log_name,
                logged: Logged::$logged,
            },
        )+];

        impl Counted {
            /// The index of its cell.
            #[inline]
            pub(super) fn cell(self) -> usize {
                match self {
                    $(Counted::$name $(($($key),+))? => {
                        let within = 0;
                        $($(let within = within * <$label as LabelWord>::COUNT + $key as usize;)+)?
                        FIRST_CELLS[Entry::$name as usize] + within
                    })+
                }
            }
        }
    };
}

counted! {
    /// Connections accepted.
    Accepted = Counter "connections_accepted_total", Always "accepted";
    /// Connections that are open now.
    Active = Gauge "connections_active", Always "active";
    /// Connections closed, by why.
    Closed(reason: Reason) = Counter "connections_closed_total", NotZero "closed";
    /// Bytes relayed, by the way they went and the engine that moved them.
    RelayedBytes(direction: Direction, engine: Engine) = Counter "relayed_bytes_total", NotZero "bytes";
    /// Logins, by how they came out.
    Login(result: LoginResult) = Counter "auth_total", NotZero "logins";
    /// Connects and listeners that found no free local port.
    NoLocalPort = Counter "no_local_port_total", NotZero "no_local_port";
    /// Connections to a listener of a BIND session from another than its peer; they were reset.
    ForeignPeer = Counter "bind_foreign_peers_total", NotZero "foreign_peers";
    /// Requests that were refused: their source has as many sessions as `limits.per_source` allows.
    SourceRefused = Counter "per_source_refused_total", NotZero "per_source_refused";
    /// Connections that were closed when they came: their source has twice as many.
    SourceTurnedAway = Counter "per_source_turned_away_total", NotZero "per_source_turned_away";
    /// Requests refused because their access record had no room.
    RefusedUnrecorded = Counter "refused_unrecorded_total", NotZero "refused_unrecorded";
    /// Times that accepting paused for want of descriptors or memory.
    AcceptPaused = Counter "accept_paused_total", NotZero "accept_paused";
    /// Turns that a worker did not get on with. The control thread counts them, and it alone.
    Stall = Counter "worker_stalls_total", NotZero "stalls";
    /// Associations that are there now.
    Associations = Gauge "udp_associations_active", NotZero "udp_associations";
    /// Datagrams relayed.
    Datagrams(direction: Direction) = Counter "udp_datagrams_total", NotZero "udp_datagrams";
    /// Bytes of the payload of datagrams relayed.
    DatagramBytes(direction: Direction) = Counter "udp_bytes_total", NotZero "udp_bytes";
    /// Times that no pipe could be had and bytes were copied instead.
    PipeFallbacks = Counter "pipe_fallbacks_total", NotZero "pipe_fallbacks";
    /// Pipes that are there now: lent while bytes are in them, pooled for the next use otherwise.
    Pipes(state: PipeState) = Gauge "pipes", NotZero "pipes";
    /// Access records that were dropped. No worker counts them: their queue does.
    RecordsLost = Counter "records_lost_total", NotZero "records_lost";
    /// Log lines that were dropped. No worker counts them: their queue does.
    LogLinesLost = Counter "log_lines_lost_total", NotZero "log_lines_lost";
    /// Datagrams dropped, by why.
    Dropped(reason: Drop) = Counter "udp_dropped_total", NotZero "udp_dropped";
}

/// Where each entry's cells begin.
const FIRST_CELLS: [usize; METRICS.len()] = {
    let (mut firsts, mut at) = ([0; METRICS.len()], 1);
    while at < METRICS.len() {
        firsts[at] = firsts[at - 1] + METRICS[at - 1].cells();
        at += 1;
    }
    firsts
};

/// How many cells all entries have.
pub(super) const CELLS: usize = FIRST_CELLS[METRICS.len() - 1] + METRICS[METRICS.len() - 1].cells();

impl Metric {
    /// How many values it has.
    pub(super) const fn cells(&self) -> usize {
        let (mut cells, mut at) = (1, 0);
        while at < self.labels.len() {
            cells *= self.labels[at].count;
            at += 1;
        }
        cells
    }

    /// The labels of the value that is `within` the entry.
    pub(super) fn labels_of(&self, within: usize) -> Vec<(&'static str, &'static str)> {
        self.labels.iter().map(|label| label.key).zip(self.words(within)).collect()
    }

    /// The words of the value that is `within` the entry, one for each label.
    fn words(&self, within: usize) -> impl Iterator<Item = &'static str> {
        let mut left = self.cells();
        self.labels.iter().map(move |label| {
            left /= label.count;
            (label.word)(within / left % label.count)
        })
    }
}

/// Each entry with its values, in the order of [`Metric::labels_of`].
pub(super) fn values(cells: &[u64; CELLS]) -> impl Iterator<Item = (&'static Metric, &[u64])> {
    METRICS.iter().zip(FIRST_CELLS).map(|(metric, first)| (metric, &cells[first..first + metric.cells()]))
}

/// The log's line of these cells: a name and a value for each that it has.
pub(super) fn log_fields(cells: &[u64; CELLS]) -> Vec<(String, u64)> {
    let mut fields = Vec::new();
    for (metric, values) in values(cells) {
        for (within, &value) in values.iter().enumerate() {
            if value > 0 || metric.logged == Logged::Always {
                let name =
                    metric.words(within).fold(metric.log_name.to_owned(), |name, word| name + "_" + word);
                fields.push((name, value));
            }
        }
    }
    fields
}

/// Which way relayed bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to target.
    Up,
    /// Target to client.
    Down,
}

impl Direction {
    const ALL: [Direction; 2] = [Direction::Up, Direction::Down];

    fn name(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// How a login came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// It was right.
    Ok,
    /// It was wrong.
    Failed,
}

impl LoginResult {
    const ALL: [LoginResult; 2] = [LoginResult::Ok, LoginResult::Failed];

    fn name(self) -> &'static str {
        match self {
            LoginResult::Ok => "ok",
            LoginResult::Failed => "failed",
        }
    }
}

/// Where a pipe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeState {
    /// With a relay, with bytes in it.
    Lent,
    /// Kept for the next use, empty.
    Pooled,
}

impl PipeState {
    const ALL: [PipeState; 2] = [PipeState::Lent, PipeState::Pooled];

    fn name(self) -> &'static str {
        match self {
            PipeState::Lent => "lent",
            PipeState::Pooled => "pooled",
        }
    }
}

#[cfg(test)]
mod tests;

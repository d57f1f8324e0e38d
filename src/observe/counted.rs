//! The one list of what is counted. An entry gives the count its cell, its field in the log's line, and its metric's
//! name, type and help; whoever sums, logs or exposes counts goes through [`METRICS`].

use super::labels::{
    AskedFor, DenialCause, DialFailure, Direction, LabelWord, LoginMethod, LoginResult, NameAnswer,
    PauseCause, PipeState, Queue, Recall, Remembered, Replied, ShedCause, TlsOutcome, TlsSpoken,
};
use crate::auth::username::ParameterFault;
use crate::outcome::Reason;
use crate::relay::datagram::Drop;
use crate::relay::{Engine, NoPipe};
use crate::session::Facts;

/// How a value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// It only grows.
    Counter,
    /// It is as large as something is now.
    Gauge,
}

/// How the log's line has a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoggedAs {
    /// In any case.
    Always,
    /// Where it is not zero.
    NotZero,
    /// Where it is not zero, summed up to what the last label tells apart.
    ByLastLabel,
    /// Where it is not zero, summed up to one value; where zeros are asked for, each value behind the sum.
    Sum,
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
    logged: LoggedAs,
}

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
                logged: LoggedAs::$logged,
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
    /// Logins, by how they were made and how they came out.
    Login(method: LoginMethod, result: LoginResult) = Counter "auth_total", ByLastLabel "logins";
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
    AcceptPaused(cause: PauseCause) = Counter "accept_paused_total", Sum "accept_paused";
    /// Connections that were reset before they became sessions, for they waited too long, by for what.
    Shed(cause: ShedCause) = Counter "shed_total", Sum "shed";
    /// Queues of listeners that are kept short because more come than are served, each worker's by itself.
    ShortQueues = Gauge "short_queues", NotZero "short_queues";
    /// Turns that a worker did not get on with. The control thread counts them, and it alone.
    Stall = Counter "worker_stalls_total", NotZero "stalls";
    /// Associations that are there now.
    Associations = Gauge "udp_associations_active", NotZero "udp_associations";
    /// Datagrams relayed.
    Datagrams(direction: Direction) = Counter "udp_datagrams_total", NotZero "udp_datagrams";
    /// Bytes of the payload of datagrams relayed.
    DatagramBytes(direction: Direction) = Counter "udp_bytes_total", NotZero "udp_bytes";
    /// Times that no pipe could be had and bytes were copied instead.
    PipeFallbacks(cause: NoPipe) = Counter "pipe_fallbacks_total", Sum "pipe_fallbacks";
    /// Pipes that are there now: lent while bytes are in them, pooled for the next use otherwise.
    Pipes(state: PipeState) = Gauge "pipes", NotZero "pipes";
    /// Access records that were dropped. No worker counts them: their queue does.
    RecordsLost = Counter "records_lost_total", NotZero "records_lost";
    /// Log lines that were dropped. No worker counts them: their queue does.
    LogLinesLost = Counter "log_lines_lost_total", NotZero "log_lines_lost";
    /// Needs that found no room on their way to the file of `policy.learn`; they are told when they come again.
    NeedsLost = Counter "needs_lost_total", NotZero "needs_lost";
    /// Datagrams dropped, by why.
    Dropped(reason: Drop) = Counter "udp_dropped_total", NotZero "udp_dropped";
    /// Datagrams that were put together from fragments.
    Reassembled = Counter "udp_reassembled_total", NotZero "udp_reassembled";
    /// Requests, by what was asked for and what was answered last.
    Request(command: AskedFor, reply: Replied) = Counter "requests_total", NotZero "requests";
    /// What was refused to clients, by why. Datagrams are not among it.
    Denied(cause: DenialCause) = Counter "denied_total", NotZero "denied";
    /// Connect attempts that were begun: a session may need several.
    DialBegun = Counter "dial_attempts_total", NotZero "dials";
    /// Connect attempts that failed, by why.
    DialFailed(cause: DialFailure) = Counter "dial_failures_total", NotZero "dials_failed";
    /// Names that were asked for, by what came of it.
    Name(answer: NameAnswer) = Counter "dns_answers_total", NotZero "names";
    /// Questions to what a worker remembers.
    Recalled(cache: Remembered, result: Recall) = Counter "cache_lookups_total", NotZero "cache";
    /// Sessions whose messages are sealed.
    Sealed = Counter "sealed_sessions_total", NotZero "sealed_sessions";
    /// Handshakes of TLS at listeners, by how they came out and what was agreed on.
    TlsHandshake(result: TlsOutcome, version: TlsSpoken) = Counter "tls_handshakes_total", NotZero "tls_handshakes";
    /// Logins that failed for the parameters of the session beside the name, by what was wrong with these.
    ParametersRefused(cause: ParameterFault) = Counter "parameters_refused_total", NotZero "parameters_refused";
    /// Idle connections to servers of parents, for the sessions to come.
    ParentWarm = Gauge "parent_warm", NotZero "parent_warm";
    /// Connections that there may be at a time; an association counts twice.
    ConnectionsMax = Gauge "connections_max", NotZero "connections_max";
    /// Panics of workers, each of which cost the sessions that its worker had.
    WorkerPanic = Counter "worker_panics_total", NotZero "worker_panics";
    /// What waits now: bytes of records and of the log, letters, names, logins.
    QueueUsed(queue: Queue) = Gauge "queue_used", NotZero "queue_used";
    /// What may wait at most, in the same units.
    QueueMax(queue: Queue) = Gauge "queue_max", NotZero "queue_max";
    /// Messages of name servers that answered a question, whatever they said.
    NameServerAnswers = Counter "dns_server_answers_total", NotZero "dns_server_answers";
}

impl Counted {
    /// The request that a session made, if it made one.
    pub fn request_of(facts: &Facts) -> Option<Counted> {
        let made = facts.command.is_some() || facts.reply.is_some();
        made.then(|| Counted::Request(AskedFor::of(facts.command), Replied::of(facts.reply)))
    }
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

/// The log's line of these cells: a name and a value for each that it has. With `all` zeros are among them, and what the
/// line sums up is told apart, too.
pub(super) fn log_fields(cells: &[u64; CELLS], all: bool) -> Vec<(String, u64)> {
    let mut fields = Vec::new();
    for (metric, values) in values(cells) {
        let one_label = metric.labels.last().map_or(1, |label| label.count);
        let summed_up = match metric.logged {
            LoggedAs::Always | LoggedAs::NotZero => [Some(values.len()), None],
            LoggedAs::ByLastLabel => [Some(one_label), None],
            LoggedAs::Sum => [Some(1), Some(values.len()).filter(|_| all)],
        };
        for told_apart in summed_up.into_iter().flatten() {
            add_fields(&mut fields, metric, values, told_apart, all);
        }
    }
    fields
}

/// Adds the values of an entry, summed up to so many, with the words of the labels that tell these apart.
fn add_fields(
    fields: &mut Vec<(String, u64)>,
    metric: &Metric,
    values: &[u64],
    told_apart: usize,
    zeros: bool,
) {
    let labels = if told_apart == values.len() { metric.labels.len() } else { (told_apart > 1).into() };
    // The last label's words change first: what they tell apart stands so far apart.
    for within in 0..told_apart {
        let value = values.iter().skip(within).step_by(told_apart).sum();
        if zeros || value > 0 || metric.logged == LoggedAs::Always {
            let words = metric.words(within).skip(metric.labels.len() - labels);
            let name = words.fold(metric.log_name.to_owned(), |name, word| name + "_" + word);
            fields.push((name, value));
        }
    }
}

#[cfg(test)]
mod tests;

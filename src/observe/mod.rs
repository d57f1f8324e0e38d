//! Counters, histograms, access records and the queues that lines travel in: what the workers write and others read.

mod counted;
mod counters;
mod egress_told;
mod exposition;
pub mod filter;
mod labels;
mod latencies;
mod limit_hits;
mod limits_told;
mod lines;
mod listener_hits;
mod listeners_told;
pub mod live;
mod needs;
mod numbered;
mod parent_hits;
mod parent_server_hits;
mod parents_told;
mod pulse;
mod record;
mod rule_hits;
mod rules_told;
pub mod talkers;

pub use counted::{Counted, Label, METRICS, Metric, MetricType};
pub use counters::{Counters, Totals};
pub use egress_told::{AddressCounts, AddressTold, EgressInEffect, EgressOrderError, PoolTold, network_text};
pub use exposition::{EXPOSITION_TYPE, Observed, ProcessUse, WorkerObserved, exposition};
pub use labels::{
    AskedFor, DenialCause, DialFailure, Direction, LoginMethod, LoginResult, NameAnswer, PauseCause,
    PipeState, Queue, Recall, Remembered, Replied, ShedCause, TlsOutcome, TlsSpoken,
};
pub use latencies::{Latencies, LatencyMark, Quantiles, TIMED, Timed, Timing};
pub use limit_hits::{LimitHits, ReachedOf};
pub use limits_told::{LimitTold, LimitsInEffect};
pub use lines::{Batch, LineReceiver, LineSender, lines};
pub use listener_hits::{ListenerHits, SpokenAt};
pub use listeners_told::{ListenerSays, ListenerTold, ListenersInEffect};
pub use needs::{NeedSender, NeedsTold, TrafficNeed, needs};
pub use parent_hits::{ParentCounts, ParentFault, ParentHits};
pub use parent_server_hits::{CheckFound, ParentServerCounts, ParentServerHits};
pub use parents_told::{
    ParentOrderError, ParentServerTold, ParentTold, parent_named, parents_told, set_parent_drained,
};
pub use pulse::{Activity, Pulse};
pub use record::{AccessRecord, TargetRecord, record_room, writable};
pub use rule_hits::{Hits, RuleHits, RuleVerdict};
pub use rules_told::{RuleTold, RulesInEffect};

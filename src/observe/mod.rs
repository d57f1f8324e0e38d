//! Counters, histograms, access records and the queues that lines travel in: what the workers write and others read.

mod counted;
mod counters;
mod exposition;
mod latencies;
mod lines;
mod pulse;
mod record;

pub use counted::{Counted, Direction, Label, LoginResult, METRICS, Metric, MetricType, PipeState};
pub use counters::{Counters, Totals};
pub use exposition::{EXPOSITION_TYPE, Observed, ProcessUse, WorkerObserved, exposition};
pub use latencies::{Latencies, Quantiles, TIMED, Timed, Timing};
pub use lines::{Batch, LineReceiver, LineSender, lines};
pub use pulse::{Activity, Pulse};
pub use record::{AccessRecord, TargetRecord, record_room, writable};

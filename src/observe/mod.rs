//! Counters, histograms and access records: what the workers write and others read.

mod counters;
mod latencies;
mod record;

pub use counters::{Counted, Counters, Direction, Totals};
pub use latencies::Latencies;
pub use record::AccessRecord;

//! How the server fares: what the control thread's last look found, and the words of `/healthz` and `/readyz` for it.

use std::time::{Duration, Instant};

use crate::limits;

/// What a look of the control thread found. Whoever has one can say how the server fares; nobody else is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// When that was.
    pub looked_at: Instant,
    /// The workers that stand still.
    pub stalled: Vec<StalledWorker>,
    /// A worker has as many sessions as it may have, in two looks one after the other.
    pub at_ceiling: bool,
    /// Names were asked for in vain, and no name server answers anything.
    pub no_name_server: bool,
    /// Sessions may not begin without a record, and no record can be kept.
    pub cannot_record: bool,
    /// What does not work as it should, though clients are served as ever.
    pub degraded: Option<String>,
}

/// A worker that does not get on with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StalledWorker {
    /// Its number.
    pub number: usize,
    /// For how long it has been in one turn, at least.
    pub since: Duration,
}

impl Vitals {
    /// Nothing to complain of.
    pub fn good(looked_at: Instant) -> Vitals {
        Vitals {
            looked_at,
            stalled: Vec::new(),
            at_ceiling: false,
            no_name_server: false,
            cannot_record: false,
            degraded: None,
        }
    }

    /// Why the process is as good as dead, if it is: a new one would do better.
    pub fn not_alive(&self, now: Instant) -> Option<String> {
        if let Some(StalledWorker { number, since }) = self.stalled.iter().max_by_key(|worker| worker.since) {
            return Some(format!("worker {number} has stood in one turn for {}s", since.as_secs()));
        }
        let unseen = now.saturating_duration_since(self.looked_at);
        (unseen >= limits::VITALS_PATIENCE)
            .then(|| format!("the control thread has stood still for {}s", unseen.as_secs()))
    }

    /// Why clients had better go elsewhere though the listeners are open, if they had.
    pub fn unfit(&self) -> Option<&'static str> {
        match self {
            Vitals { at_ceiling: true, .. } => Some("at the ceiling"),
            Vitals { no_name_server: true, .. } => Some("no working name server"),
            Vitals { cannot_record: true, .. } => Some("records cannot be kept"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_turns_and_was_looked_at_is_alive() {
        let now = Instant::now();
        let good = Vitals::good(now);
        assert_eq!(good.not_alive(now), None);
        assert_eq!(good.not_alive(now + limits::VITALS_PATIENCE - Duration::from_millis(1)), None);
        let long_ago = good.not_alive(now + limits::VITALS_PATIENCE + Duration::from_secs(2));
        assert_eq!(long_ago.unwrap(), "the control thread has stood still for 17s");
        let stalled = |number, since| StalledWorker { number, since: Duration::from_secs(since) };
        let vitals = Vitals { stalled: vec![stalled(0, 5), stalled(1, 9), stalled(2, 7)], ..good };
        assert_eq!(vitals.not_alive(now).unwrap(), "worker 1 has stood in one turn for 9s");
        assert_eq!(vitals.unfit(), None, "the others take clients");
    }

    #[test]
    fn each_cause_keeps_clients_away_in_its_own_words() {
        let good = || Vitals::good(Instant::now());
        assert_eq!(good().unfit(), None);
        for (vitals, said) in [
            (Vitals { at_ceiling: true, ..good() }, "at the ceiling"),
            (Vitals { no_name_server: true, ..good() }, "no working name server"),
            (Vitals { cannot_record: true, ..good() }, "records cannot be kept"),
        ] {
            assert_eq!(vitals.unfit(), Some(said));
        }
    }
}

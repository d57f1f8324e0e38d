//! Access records on their way out: gathered for a moment and handed over in batches, to a queue that is never waited
//! for.

use crate::limits;
use crate::observe::{AccessRecord, LineSender};
use std::time::Instant;

/// The records of one worker.
#[derive(Debug)]
pub(super) struct Records {
    queue: Option<LineSender>,
    lines: Vec<u8>,
    count: u64,
    since: Option<Instant>,
}

impl Records {
    pub(super) fn new(queue: Option<LineSender>) -> Records {
        Records { queue, lines: Vec::new(), count: 0, since: None }
    }

    /// Whether anybody wants records.
    pub(super) fn wanted(&self) -> bool {
        self.queue.is_some()
    }

    pub(super) fn write(&mut self, record: &AccessRecord<'_>, now: Instant) {
        let Some(queue) = &self.queue else { return };
        if self.lines.len() >= limits::RECORDS_BATCH_BYTES {
            return queue.lose(1);
        }
        record.write_line(&mut self.lines);
        self.count += 1;
        self.since.get_or_insert(now);
        if self.lines.len() >= limits::RECORDS_BATCH_BYTES {
            self.hand_over(now);
        }
    }

    /// When the gathered records are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + limits::RECORDS_BATCH_TIME)
    }

    /// Hands over what is due; `all` hands over whatever is there, and what is refused then is lost.
    pub(super) fn flush(&mut self, now: Instant, all: bool) {
        if all || self.due().is_some_and(|due| due <= now) {
            self.hand_over(now);
        }
        if all && self.count > 0 {
            self.queue.iter().for_each(|queue| queue.lose(self.count));
            self.lines.clear();
            (self.count, self.since) = (0, None);
        }
    }

    fn hand_over(&mut self, now: Instant) {
        let Some(queue) = self.queue.as_ref().filter(|_| self.count > 0) else { return };
        match queue.send(std::mem::take(&mut self.lines), self.count) {
            Ok(()) => (self.count, self.since) = (0, None),
            Err(lines) => {
                self.lines = lines;
                self.since = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::lines;
    use crate::session::Reason;
    use std::time::{Duration, SystemTime};

    fn record(user: &str) -> AccessRecord<'_> {
        AccessRecord {
            time: SystemTime::UNIX_EPOCH,
            id: "00c0ffee",
            worker: 1,
            client: "192.0.2.1:5000".parse().expect("an address"),
            user: Some(user),
            method: None,
            command: None,
            target: None,
            address: None,
            local: None,
            reply: None,
            reason: Reason::Completed,
            engine: None,
            bytes_up: 0,
            bytes_down: 0,
            datagrams_up: 0,
            datagrams_down: 0,
            handshake_ms: None,
            dns_ms: None,
            connect_ms: None,
            duration_ms: 0,
        }
    }

    #[test]
    fn a_sink_that_stands_costs_no_memory_but_the_queue_and_one_batch_and_each_record_is_counted() {
        let (queue, receiver) = lines(4 * limits::RECORDS_BATCH_BYTES);
        let mut records = Records::new(Some(queue.clone()));
        let (user, now) = ("x".repeat(limits::USER_NAME_MAX), Instant::now());
        for _ in 0..10_000 {
            records.write(&record(&user), now);
            records.flush(now, false);
            assert!(records.lines.capacity() <= 2 * limits::RECORDS_BATCH_BYTES + 1024);
        }
        let held = queue.waiting() + records.count;
        assert!(held > 100 && held + queue.lost() == 10_000, "{held} held, {} lost", queue.lost());
        // Nobody waits at the end either.
        records.flush(now, true);
        assert_eq!(queue.waiting() + queue.lost(), 10_000);

        while let Ok(Some(batch)) = receiver.receive(Duration::ZERO) {
            receiver.written(batch);
        }
        records.write(&record(&user), now);
        records.flush(now + limits::RECORDS_BATCH_TIME, false);
        assert_eq!(queue.waiting(), 1, "there is room again");
    }
}

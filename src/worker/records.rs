//! Access records on their way out: gathered for a moment and handed over in batches, to a queue that is never waited
//! for.

use std::time::Instant;

use crate::config::{Access, Log, OnFull};
use crate::limits;
use crate::observe::{AccessRecord, LineSender, TargetRecord};

/// The records of one worker.
#[derive(Debug)]
pub(super) struct Records {
    /// Once there is one there is no other: what was reserved was reserved in it.
    queue: Option<LineSender>,
    wanted: bool,
    /// Where room is reserved for each record before its session is admitted.
    reserves: bool,
    /// Reserved for sessions that are there.
    reserved: usize,
    lines: Vec<u8>,
    count: u64,
    /// The room that `lines` have already, where room is reserved.
    room: usize,
    since: Option<Instant>,
}

impl Records {
    pub(super) fn new(queue: Option<LineSender>, log: &Log) -> Records {
        Records {
            queue,
            wanted: log.access != Access::Off,
            reserves: log.on_full == OnFull::Refuse,
            reserved: 0,
            lines: Vec::new(),
            count: 0,
            room: 0,
            since: None,
        }
    }

    /// Goes by this from now on. What was gathered goes out as it was gathered.
    pub(super) fn configure(&mut self, queue: Option<&LineSender>, log: &Log, now: Instant) {
        let (wanted, reserves) = (log.access != Access::Off, log.on_full == OnFull::Refuse);
        if (wanted, reserves) != (self.wanted, self.reserves) {
            self.hand_over(now);
            (self.wanted, self.reserves) = (wanted, reserves);
        }
        if self.queue.is_none() {
            self.queue = queue.cloned();
        }
    }

    /// Whether anybody wants records.
    pub(super) fn wanted(&self) -> bool {
        self.wanted && self.queue.is_some()
    }

    /// Whether a session may only be admitted with room for its record.
    pub(super) fn reserves(&self) -> bool {
        self.reserves && self.wanted()
    }

    /// Reserves this room; false where there is none.
    pub(super) fn reserve(&mut self, room: usize) -> bool {
        let had = self.queue.as_ref().is_some_and(|queue| queue.reserve(room));
        self.reserved += if had { room } else { 0 };
        had
    }

    /// Gives back what was reserved for a record that is not written.
    pub(super) fn forgo(&mut self, reserved: usize) {
        self.reserved -= reserved;
        self.queue.iter().filter(|_| reserved > 0).for_each(|queue| queue.release(reserved));
    }

    /// Writes a record, for which so much was reserved.
    pub(super) fn write(&mut self, record: &AccessRecord<'_>, reserved: usize, now: Instant) {
        self.put(reserved, now, |lines| record.write_line(lines));
    }

    /// A record of one target of the association whose own was written before; nothing was reserved for it.
    pub(super) fn write_target(&mut self, record: &TargetRecord<'_>, now: Instant) {
        self.put(0, now, |lines| record.write_line(lines));
    }

    fn put(&mut self, mut reserved: usize, now: Instant, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.reserves() {
            // Reserved while that was asked for.
            self.forgo(std::mem::take(&mut reserved));
        }
        let Some(queue) = self.queue.as_ref().filter(|_| self.wanted) else { return };
        if !self.reserves && self.lines.len() >= limits::RECORDS_BATCH_BYTES {
            return queue.lose(1);
        }
        let before = self.lines.len();
        write(&mut self.lines);
        if self.reserves {
            self.reserved -= reserved;
            let room = self.lines.len() - before + limits::LINES_BATCH_OVERHEAD_BYTES;
            if reserved > 0 {
                queue.release(reserved.saturating_sub(room));
                self.room += room.min(reserved);
            } else if queue.reserve_some(room) {
                self.room += room;
            } else {
                self.lines.truncate(before);
                return queue.lose(1);
            }
        }
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
        if self.reserves {
            queue.send_reserved(std::mem::take(&mut self.lines), self.count, std::mem::take(&mut self.room));
            (self.count, self.since) = (0, None);
            return;
        }
        match queue.send(std::mem::take(&mut self.lines), self.count) {
            Ok(()) => (self.count, self.since) = (0, None),
            Err(lines) => {
                self.lines = lines;
                self.since = Some(now);
            }
        }
    }
}

impl Drop for Records {
    /// Whatever ended the worker, its sessions are gone: their room is for those of the worker that replaces it.
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.release(self.reserved + self.room);
            if self.count > 0 {
                queue.lose(self.count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::lines;
    use crate::observe::live::{LiveSession, LiveState, SessionId};
    use crate::outcome::Reason;
    use std::time::{Duration, SystemTime};

    fn log(on_full: OnFull) -> Log {
        Log { access: Access::Stdout, on_full, ..Log::default() }
    }

    /// A session of a user; its record is `record` of it.
    fn session(user: &str) -> LiveSession {
        LiveSession {
            time: SystemTime::UNIX_EPOCH,
            began: Instant::now(),
            id: SessionId { boot: 1, worker: 1, serial: 1 },
            client: "192.0.2.1:5000".parse().expect("an address"),
            listener: None,
            user_typed: None,
            user: Some(user.into()),
            method: None,
            command: None,
            target: None,
            address: None,
            local: None,
            protocol: None,
            proxied: None,
            rule: None,
            verdict: None,
            would_deny: None,
            limit: None,
            egress: None,
            egress_refused: None,
            parent: None,
            parent_server: None,
            parent_cause: None,
            reply: None,
            engine: None,
            bytes_up: 0,
            bytes_down: 0,
            datagrams_up: 0,
            datagrams_down: 0,
            handshake_ms: None,
            dns_ms: None,
            connect_ms: None,
            state: LiveState::Handshake,
            age_ms: 0,
            idle_ms: 0,
        }
    }

    fn record(session: &LiveSession) -> AccessRecord<'_> {
        AccessRecord { session, reason: Reason::Completed }
    }

    #[test]
    fn a_sink_that_stands_costs_no_memory_but_the_queue_and_one_batch_and_each_record_is_counted() {
        let (queue, receiver) = lines(4 * limits::RECORDS_BATCH_BYTES);
        let mut records = Records::new(Some(queue.clone()), &log(OnFull::Drop));
        let (session, now) = (session(&"x".repeat(limits::USER_NAME_MAX)), Instant::now());
        for _ in 0..10_000 {
            records.write(&record(&session), 0, now);
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
        records.write(&record(&session), 0, now);
        records.flush(now + limits::RECORDS_BATCH_TIME, false);
        assert_eq!(queue.waiting(), 1, "there is room again");
    }

    #[test]
    fn what_was_reserved_is_kept_and_the_rest_is_dropped_at_half_and_counted() {
        let (queue, receiver) = lines(100_000);
        let mut records = Records::new(Some(queue.clone()), &log(OnFull::Refuse));
        let (stranger, alice, now) = (session("stranger"), session("alice"), Instant::now());
        let mut admitted = 0;
        while records.reserve(2_000) {
            admitted += 1;
        }
        assert_eq!(admitted, 50);
        // Nobody asked for this one: it has no room now.
        records.write(&record(&stranger), 0, now);
        assert_eq!(queue.lost(), 1);
        for _ in 0..admitted {
            records.write(&record(&alice), 2_000, now);
        }
        records.flush(now, true);
        assert_eq!((queue.waiting(), queue.lost()), (admitted, 1));
        // What the lines did not need is free at once, and half of the queue is not for strangers.
        while records.count < 1_000 && queue.lost() == 1 {
            records.write(&record(&stranger), 0, now);
        }
        assert!(records.reserve(40_000), "room for who is admitted");
        records.flush(now, true);
        drop(records);
        while let Ok(Some(batch)) = receiver.receive(Duration::ZERO) {
            receiver.written(batch);
        }
        assert!(queue.reserve(100_000), "all room is free again");
    }

    /// Whatever becomes of records while sessions are there: none is lost or written twice, and all room is given back.
    #[test]
    fn what_is_wanted_may_change_while_sessions_are_there() {
        let (queue, receiver) = lines(100_000);
        let mut records = Records::new(None, &Log::default());
        let now = Instant::now();
        let off = Log::default();
        records.write(&record(&session("nobody asked")), 0, now);
        records.configure(Some(&queue), &log(OnFull::Drop), now);
        records.write(&record(&session("1")), 0, now);
        records.configure(Some(&queue), &log(OnFull::Refuse), now);
        assert!(records.reserve(2_000) && records.reserve(2_000) && records.reserve(2_000));
        records.write(&record(&session("2")), 2_000, now);
        records.configure(Some(&queue), &log(OnFull::Drop), now);
        records.write(&record(&session("3")), 2_000, now);
        records.configure(Some(&queue), &off, now);
        assert!(!records.wanted() && !records.reserves());
        records.forgo(2_000);
        records.write(&record(&session("nobody asked")), 0, now);
        records.configure(Some(&queue), &log(OnFull::Refuse), now);
        records.write(&record(&session("4")), 0, now);
        records.flush(now, true);
        drop(records);
        let mut written = Vec::new();
        while let Ok(Some(batch)) = receiver.receive(Duration::ZERO) {
            written.extend_from_slice(&batch.bytes);
            receiver.written(batch);
        }
        let written = String::from_utf8(written).unwrap();
        let users: Vec<&str> = written.split("\"user\":\"").skip(1).map(|rest| &rest[..1]).collect();
        assert_eq!(users, ["1", "2", "3", "4"]);
        assert!(queue.reserve(100_000), "all room is free again");
        assert_eq!(queue.lost(), 0);
    }
}

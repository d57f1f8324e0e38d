//! Which part of the screen has how many rows.

use ratatui::layout::Rect;

/// The parts, from the top down; one without rows is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) title: Rect,
    pub(super) meters: Rect,
    pub(super) datagrams: Rect,
    pub(super) workers: Rect,
    pub(super) latencies: Rect,
    pub(super) refused: Rect,
    pub(super) failed: Rect,
    pub(super) dropped: Rect,
    pub(super) rules: Rect,
    pub(super) limits: Rect,
    pub(super) pools: Rect,
    pub(super) parents: Rect,
    pub(super) talkers: Rect,
    pub(super) caption: Rect,
    pub(super) table: Rect,
    pub(super) foot: Rect,
}

/// What has a row where there is any of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PolicyRows {
    pub(super) rules: bool,
    pub(super) limits: bool,
    pub(super) pools: bool,
    pub(super) parents: bool,
}

/// RowsLeft that are given away, the most needed first.
struct RowsLeft(u16);

impl RowsLeft {
    /// All of these rows or none.
    fn take(&mut self, rows: u16) -> u16 {
        match self.0.checked_sub(rows) {
            Some(left) => {
                self.0 = left;
                rows
            }
            None => 0,
        }
    }

    /// As many of these rows as there are.
    fn take_some(&mut self, rows: u16) -> u16 {
        let taken = rows.min(self.0);
        self.0 -= taken;
        taken
    }
}

impl Plan {
    /// Parts an area. All workers would fill `worker_rows`; rules, limits, pools and parents have a row where there are any.
    pub(super) fn of(area: Rect, worker_rows: u16, policy: PolicyRows) -> Plan {
        // Of the table: its head, and as many sessions as a screen of that height should show at the least.
        let table_least = match area.height {
            ..16 => 3,
            16..24 => 6,
            _ => 11,
        };
        let mut rows = RowsLeft(area.height.saturating_sub(3 + table_least));
        let (mut meters, datagrams, mut talkers) = (rows.take(2), rows.take(1), rows.take(1));
        let (mut workers, mut latencies) = (rows.take(1), rows.take(3));
        let refused = rows.take(1);
        // What rules say, how full limits are, how pools and how parents stand have a row before what is lost, of which the rate stands above.
        let ruled = if policy.rules { rows.take(1) } else { 0 };
        let limited = if policy.limits { rows.take(1) } else { 0 };
        let pooled = if policy.pools { rows.take(1) } else { 0 };
        let led = if policy.parents { rows.take(1) } else { 0 };
        let dropped = rows.take(1);
        // Of what a higher screen has beyond that, half is the table's.
        let mut rows = RowsLeft(rows.0.div_ceil(2));
        let failed = rows.take(1);
        workers += rows.take_some(worker_rows.saturating_sub(workers).min(1));
        talkers += rows.take(5);
        meters += rows.take(2);
        latencies += rows.take(3);
        workers += rows.take_some(worker_rows.saturating_sub(workers).min(6));
        talkers += rows.take(5);
        meters += rows.take(2);
        let policy = ruled + limited + pooled + led;
        let above = meters + datagrams + workers + latencies + refused + failed + dropped + policy + talkers;
        let table = area.height.saturating_sub(3 + above);
        let mut y = area.y;
        let mut next = |height: u16| {
            let part = Rect { y, height, ..area }.intersection(area);
            y += height;
            part
        };
        Plan {
            title: next(1),
            meters: next(meters),
            datagrams: next(datagrams),
            workers: next(workers),
            latencies: next(latencies),
            refused: next(refused),
            failed: next(failed),
            dropped: next(dropped),
            rules: next(ruled),
            limits: next(limited),
            pools: next(pooled),
            parents: next(led),
            talkers: next(talkers),
            caption: next(1),
            table: next(table),
            foot: next(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heights(height: u16, worker_rows: u16) -> [u16; 12] {
        let parts = parts(height, worker_rows, PolicyRows::default());
        assert_eq!(parts[8..12], [0; 4], "no rules, no limits, no pools and no parents");
        for places in 1..16 {
            let [rules, limits, pools, parents] = [1, 2, 4, 8].map(|bit| places & bit != 0);
            let with = self::parts(height, worker_rows, PolicyRows { rules, limits, pools, parents });
            let most = [rules, limits, pools, parents].map(u16::from);
            assert!(with[8..12].iter().zip(most).all(|(rows, most)| *rows <= most) && with[14] >= 3);
        }
        [&parts[..8], &parts[12..]].concat().try_into().expect("all but four")
    }

    fn parts(height: u16, worker_rows: u16, policy: PolicyRows) -> [u16; 16] {
        let plan = Plan::of(Rect::new(0, 0, 80, height), worker_rows, policy);
        let parts = [
            plan.title,
            plan.meters,
            plan.datagrams,
            plan.workers,
            plan.latencies,
            plan.refused,
            plan.failed,
            plan.dropped,
            plan.rules,
            plan.limits,
            plan.pools,
            plan.parents,
            plan.talkers,
            plan.caption,
            plan.table,
            plan.foot,
        ];
        let mut y = 0;
        for part in parts {
            assert!(part.y == y || part.height == 0, "{height}: {parts:?}");
            y += part.height;
        }
        assert_eq!(y, height, "{parts:?}");
        parts.map(|part| part.height)
    }

    #[test]
    fn every_row_of_every_screen_is_somebodys() {
        for height in 10..=300 {
            for worker_rows in [0, 1, 2, 40] {
                assert!(heights(height, worker_rows)[10] >= 3);
            }
        }
    }

    #[test]
    fn a_higher_screen_shows_more() {
        assert_eq!(heights(10, 1), [1, 2, 1, 0, 0, 0, 0, 0, 1, 1, 3, 1]);
        assert_eq!(heights(24, 1), [1, 2, 1, 1, 3, 1, 0, 1, 1, 1, 11, 1]);
        assert_eq!(heights(24, 9), heights(24, 1));
        assert_eq!(heights(40, 3), [1, 2, 1, 3, 3, 1, 1, 1, 6, 1, 19, 1]);
        assert_eq!(heights(60, 3), [1, 4, 1, 3, 6, 1, 1, 1, 11, 1, 29, 1]);
    }
}

//! What a limit allows, as it stands: accounts hold it, and a reload changes it under them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::BurstRate;
use super::quota::{LiveQuota, QuotaSpan, QuotaTerms};

/// What each subject of a limit may have. What is not limited is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitTerms {
    /// Sessions at a time.
    pub connections: Option<u64>,
    /// Associations at a time.
    pub udp_associations: Option<u64>,
    /// Sessions that begin.
    pub new_per_second: Option<BurstRate>,
    /// Bytes from clients.
    pub upload: Option<BurstRate>,
    /// Bytes to clients.
    pub download: Option<BurstRate>,
    /// Datagrams, both ways together.
    pub datagrams: Option<BurstRate>,
    /// Bytes of a period.
    pub quota: Option<QuotaTerms>,
}

/// LimitTerms that a reload may change while sessions go by them.
#[derive(Debug)]
pub(super) struct LiveTerms {
    /// Another number whenever they are others.
    version: AtomicU64,
    connections: AtomicU64,
    udp_associations: AtomicU64,
    new_per_second: LiveRate,
    upload: LiveRate,
    download: LiveRate,
    datagrams: LiveRate,
    quota: LiveQuota,
}

/// What stands for no limit.
const NO_LIMIT: u64 = u64::MAX;

#[derive(Debug, Default)]
struct LiveRate {
    /// 0: none. Read without the burst that belongs to it, by a draw while both change: for that draw alone.
    rate: AtomicU64,
    burst: AtomicU64,
}

impl LiveRate {
    /// Whether it was another before.
    fn set(&self, rate: Option<BurstRate>) -> bool {
        let before = self.get();
        self.burst.store(rate.map_or(0, |rate| rate.burst), Ordering::Relaxed);
        self.rate.store(rate.map_or(0, |rate| rate.rate), Ordering::Relaxed);
        before != rate
    }

    fn get(&self) -> Option<BurstRate> {
        let rate = self.rate.load(Ordering::Relaxed);
        (rate > 0).then(|| BurstRate { rate, burst: self.burst.load(Ordering::Relaxed) })
    }
}

impl LiveTerms {
    pub(super) fn new(terms: &LimitTerms) -> LiveTerms {
        let live = LiveTerms {
            version: AtomicU64::new(0),
            connections: AtomicU64::new(NO_LIMIT),
            udp_associations: AtomicU64::new(NO_LIMIT),
            new_per_second: LiveRate::default(),
            upload: LiveRate::default(),
            download: LiveRate::default(),
            datagrams: LiveRate::default(),
            quota: LiveQuota::new(None),
        };
        live.set(terms);
        live
    }

    /// Whether a quota may be used up by now that was not.
    pub(super) fn set(&self, terms: &LimitTerms) -> bool {
        self.connections.store(terms.connections.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        self.udp_associations.store(terms.udp_associations.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        let changed = [
            self.new_per_second.set(terms.new_per_second),
            self.upload.set(terms.upload),
            self.download.set(terms.download),
            self.datagrams.set(terms.datagrams),
        ];
        if changed.contains(&true) {
            self.version.fetch_add(1, Ordering::Release);
        }
        self.quota.set(terms.quota)
    }

    /// All of it, as it stands.
    pub(super) fn get(&self) -> LimitTerms {
        let most = |most: u64| Some(most).filter(|most| *most != NO_LIMIT);
        LimitTerms {
            connections: most(self.connections()),
            udp_associations: most(self.udp_associations()),
            new_per_second: self.new_per_second(),
            upload: self.upload(),
            download: self.download(),
            datagrams: self.datagrams(),
            quota: self.quota(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn udp_associations(&self) -> u64 {
        self.udp_associations.load(Ordering::Relaxed)
    }

    pub(super) fn new_per_second(&self) -> Option<BurstRate> {
        self.new_per_second.get()
    }

    pub(super) fn upload(&self) -> Option<BurstRate> {
        self.upload.get()
    }

    pub(super) fn download(&self) -> Option<BurstRate> {
        self.download.get()
    }

    pub(super) fn datagrams(&self) -> Option<BurstRate> {
        self.datagrams.get()
    }

    pub(super) fn quota(&self) -> Option<QuotaTerms> {
        self.quota.get()
    }

    /// In which period its quota is, or would be where it was taken away.
    pub(super) fn quota_span(&self) -> Option<QuotaSpan> {
        self.quota.span()
    }

    /// Says in which period its quota is.
    pub(super) fn set_span(&self, span: QuotaSpan) {
        self.quota.set_span(span);
    }
}

//! Which NAT64 prefixes the name servers show (RFC 7050): asked for at the start and from time to time, on behalf of
//! nobody. No session waits for it; until there is an answer, addresses are judged as if there were no translator. A host
//! that cannot send to any IPv6 address reaches no translator, and asks nobody.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Dns64, Prefer};
use crate::dns::Answer;
use crate::limits;
use crate::policy::{Nat64, Policy};
use crate::sys::machine::source_towards;

/// The name whose AAAA records exist only where a server makes them up (RFC 7050 section 8.1).
pub(super) const NAME: &str = "ipv4only.arpa";

/// What was shown last, and when to ask again.
#[derive(Debug)]
pub(super) struct Translators {
    pub(super) shown: Vec<Nat64>,
    /// `None` while an answer is on its way.
    next_at: Option<Instant>,
    /// Answers in a row that showed nothing.
    in_vain: usize,
}

impl Translators {
    /// `None` where there is nothing to ask for. `shown` was shown to the worker that this one replaces.
    pub(super) fn wanted(
        dns64: &Dns64,
        prefer: Prefer,
        shown: Vec<Nat64>,
        now: Instant,
    ) -> Option<Translators> {
        let asks = *dns64 == Dns64::Auto && prefer != Prefer::Ipv4Only;
        asks.then_some(Translators { shown, next_at: Some(now), in_vain: 0 })
    }

    /// The policy whose guard knows what is shown.
    pub(super) fn add_to(&self, policy: &Arc<Policy>) -> Arc<Policy> {
        if self.shown.is_empty() {
            return Arc::clone(policy);
        }
        Arc::new(Policy::clone(policy).with_shown_nat64(&self.shown))
    }

    /// Other servers may show others, and so may another network.
    pub(super) fn ask_anew(&mut self, now: Instant) {
        self.next_at = self.next_at.map(|_| now);
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Whether to ask now. Where nothing could be sent to a translator, that is looked at again later.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        if self.next_at.is_none_or(|at| at > now) {
            return false;
        }
        let useful = has_a_way_to_ipv6();
        self.next_at = (!useful).then(|| now + limits::NAT64_LOOK_FOR_IPV6);
        useful
    }

    /// The prefixes that an answer shows, where they are others than before. A failure says nothing of them.
    ///
    /// An answer without any is asked for again soon: a server that makes addresses up first asks others twice, and the
    /// resolver does not wait for it longer than for any second family.
    pub(super) fn take(&mut self, answer: &Answer, now: Instant) -> Option<Vec<Nat64>> {
        let soon = &limits::NAT64_ASK_AGAIN;
        let (shown, again) = match answer {
            Ok(addresses) => (Nat64::shown_by(addresses), soon.get(self.in_vain)),
            Err(error) if error.says_there_is_none() => (Vec::new(), soon.get(self.in_vain)),
            // The network may come up later than we do.
            Err(_) => (self.shown.clone(), soon.get(self.in_vain).or(soon.last())),
        };
        let wait = again.copied().filter(|_| shown.is_empty()).unwrap_or(limits::NAT64_REFRESH);
        self.in_vain = if shown.is_empty() { self.in_vain + 1 } else { 0 };
        self.next_at = Some(now + wait.mul_f64(rand::random_range(0.9..1.1)));
        if shown == self.shown {
            return None;
        }
        self.shown = shown;
        Some(self.shown.clone())
    }
}

/// Whether the kernel would send to a global IPv6 address, or to the prefix that all translators may use (RFC 6052
/// section 2.1). Nothing is sent.
fn has_a_way_to_ipv6() -> bool {
    let anywhere =
        [Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0xaa)];
    anywhere.into_iter().any(|ip| source_towards(SocketAddr::new(ip.into(), 1), None).is_ok())
}

pub(super) fn say(shown: &[Nat64]) {
    if shown.is_empty() {
        tracing::info!("the name servers show no NAT64 prefix any more");
    }
    for prefix in shown {
        match prefix.is_credible() {
            true => {
                tracing::info!(%prefix, "a NAT64 prefix: its addresses are judged by the IPv4 addresses that they carry")
            }
            false => tracing::warn!(
                %prefix,
                "the name servers show a NAT64 prefix that is special-purpose, and are not believed: \
                 [dns] dns64 is where to name it if it is yours"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::DnsError;

    fn answer(ips: &[&str]) -> Answer {
        Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    /// What an answer changes, and how many seconds later the next question is.
    fn after(translators: &mut Translators, answer: &Answer) -> (Option<usize>, u64) {
        let now = Instant::now();
        let change = translators.take(answer, now).map(|shown| shown.len());
        (change, translators.next_at.unwrap().duration_since(now).as_secs())
    }

    #[test]
    fn only_an_answer_changes_what_was_shown() {
        let mut translators =
            Translators::wanted(&Dns64::Auto, Prefer::HappyEyeballs, Vec::new(), Instant::now()).unwrap();
        let shows = answer(&["192.0.0.170", "64:ff9b::192.0.0.170"]);
        assert_eq!(after(&mut translators, &shows).0, Some(1));
        for failure in [DnsError::Timeout, DnsError::ServerFailure, DnsError::Busy, DnsError::NoServers] {
            assert_eq!(after(&mut translators, &Err(failure)).0, None);
        }
        assert_eq!(after(&mut translators, &shows).0, None);
        assert_eq!(after(&mut translators, &answer(&["192.0.0.170"])).0, Some(0));
        assert_eq!(after(&mut translators, &shows).0, Some(1));
        assert_eq!(after(&mut translators, &Err(DnsError::NotFound)).0, Some(0));
    }

    #[test]
    fn who_shows_none_is_asked_again_soon_twice_and_who_fails_until_he_answers() {
        let mut translators =
            Translators::wanted(&Dns64::Auto, Prefer::HappyEyeballs, Vec::new(), Instant::now()).unwrap();
        let seldom = limits::NAT64_REFRESH.as_secs() * 8 / 10;
        for (nothing, settled) in [(Err(DnsError::NoAddress), true), (Err(DnsError::Timeout), false)] {
            translators.in_vain = 0;
            let waits: Vec<u64> = (0..6).map(|_| after(&mut translators, &nothing).1).collect();
            assert!(waits[0] <= 3 && waits[1] <= 50, "{waits:?}");
            assert!(waits[2..].iter().all(|wait| (*wait > seldom) == settled), "{waits:?}");
        }
        assert!(after(&mut translators, &answer(&["64:ff9b::192.0.0.170"])).1 > seldom);
    }

    #[test]
    fn nobody_is_asked_where_it_is_said() {
        let wanted =
            |dns64: &Dns64, prefer| Translators::wanted(dns64, prefer, Vec::new(), Instant::now()).is_some();
        assert!(wanted(&Dns64::Auto, Prefer::Ipv6Only));
        assert!(!wanted(&Dns64::Off, Prefer::Ipv6Only));
        assert!(!wanted(&Dns64::Auto, Prefer::Ipv4Only));
        let named = Dns64::Prefixes(vec![Nat64::new("64:ff9b::/96".parse().unwrap()).unwrap()]);
        assert!(!wanted(&named, Prefer::Ipv6Only));
    }
}

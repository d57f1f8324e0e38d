//! What was spoken at each listener so far, for whoever looks: those that are listened on now.

use std::sync::Arc;

use super::counters::Counters;
use super::listener_hits::SpokenAt;
use super::numbered::added_up;
use crate::config::{Choice, Protocol};

/// The listeners that there are, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct ListenersInEffect {
    /// What each is called, and what may be spoken there.
    pub listeners: Vec<ListenerSays>,
}

/// A listener as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSays {
    /// Its number.
    pub number: u16,
    /// What it is called.
    pub name: Arc<str>,
    /// What may be spoken there.
    pub protocols: Vec<Protocol>,
    /// What another had counted that had the number before.
    pub since: SpokenAt,
}

/// A listener, and the sessions that came by it over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTold {
    /// What it is, and may be spoken there.
    pub says: ListenerSays,
    /// How many sessions spoke what.
    pub spoken: SpokenAt,
}

impl ListenersInEffect {
    /// Each listener, in their order.
    pub fn told<'a>(&self, workers: impl Iterator<Item = &'a Counters> + Clone) -> Vec<ListenerTold> {
        let told = |says: &ListenerSays| {
            let mut spoken = spoken_at(says.number, workers.clone());
            spoken.iter_mut().zip(says.since).for_each(|(now, since)| *now = now.saturating_sub(since));
            ListenerTold { says: says.clone(), spoken }
        };
        self.listeners.iter().map(told).collect()
    }

    /// These in place of those that there were: numbers, names, and what may be spoken. One whose number was here is the same
    /// still; a number that another had before begins anew.
    #[must_use]
    pub fn followed_by<'a>(
        &self,
        listeners: impl Iterator<Item = (u16, Arc<str>, Vec<Protocol>)>,
        workers: impl Iterator<Item = &'a Counters> + Clone,
    ) -> ListenersInEffect {
        let says = |(number, name, protocols)| {
            let same = self.listeners.iter().find(|one| one.number == number);
            let since = same.map_or_else(|| spoken_at(number, workers.clone()), |one| one.since);
            ListenerSays { number, name, protocols, since }
        };
        ListenersInEffect { listeners: listeners.map(says).collect() }
    }
}

/// All that these workers counted for a number.
fn spoken_at<'a>(number: u16, workers: impl Iterator<Item = &'a Counters>) -> SpokenAt {
    added_up(workers.map(|counters| counters.listeners.of(number)))
}

impl ListenerTold {
    /// Each protocol that may be spoken there, or was, with how many sessions spoke it; "none" is nothing that is known.
    pub fn protocols(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Protocol::ALL.iter().map(|(word, protocol)| (*word, Some(*protocol)));
        let all = all.chain([("none", None)]).zip(self.spoken);
        let may = |protocol: Option<Protocol>| protocol.is_none_or(|one| self.says.protocols.contains(&one));
        all.filter(move |((_, protocol), count)| *count > 0 || may(*protocol))
            .map(|((word, _), count)| (word, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(told: &[ListenerTold]) -> Vec<(&str, Vec<(&'static str, u64)>)> {
        told.iter().map(|one| (&*one.says.name, one.protocols().collect())).collect()
    }

    #[test]
    fn each_listener_is_told_with_what_may_be_spoken_there_and_what_was() {
        let workers = [Counters::default(), Counters::default()];
        let (web, socks) =
            ((4, "web".into(), vec![Protocol::Http]), (0, "socks".into(), vec![Protocol::Socks5]));
        let first =
            ListenersInEffect::default().followed_by([web.clone(), socks].into_iter(), workers.iter());
        workers.iter().for_each(|counters| counters.listeners.count(4, Some(Protocol::Http)));
        workers[1].listeners.count(4, Some(Protocol::Socks4));
        workers[0].listeners.count(4, None);
        let of_web = ("web", vec![("socks4", 1), ("http", 2), ("none", 1)]);
        assert_eq!(
            lines(&first.told(workers.iter())),
            [of_web.clone(), ("socks", vec![("socks5", 0), ("none", 0)])]
        );
        // One stays, and another comes to have a number that was free.
        workers[0].listeners.count(1, Some(Protocol::Socks5));
        let other = (1, "other".into(), vec![Protocol::Socks5]);
        let second = first.followed_by([other, web].into_iter(), workers.iter());
        workers[1].listeners.count(1, Some(Protocol::Socks5));
        assert_eq!(
            lines(&second.told(workers.iter())),
            [("other", vec![("socks5", 1), ("none", 0)]), of_web]
        );
    }
}

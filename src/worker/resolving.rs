//! One name resolved by itself, as a worker would: for whoever has no worker and may wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use mio::{Events, Poll};

use super::lookups::Lookups;
use super::poll_once;
use super::tokens::EventSource;
use crate::dns::{Answer, Settings};
use crate::limits;
use crate::proto::address::Name;
use crate::shares;

/// Resolves a name, and waits for the answer, which comes within the time that the settings give it.
///
/// # Errors
/// What epoll refused.
pub(crate) fn resolve(settings: Settings, name: &Name) -> io::Result<Answer> {
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let mut events = Events::with_capacity(limits::EVENTS_PER_TURN);
    let mut lookups = Lookups::new(Arc::new(settings), 1);
    let nobody = shares::Source::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
    if let Some(answer) = lookups.lookup(name.as_str(), nobody, 0, &registry, Instant::now()) {
        return Ok(answer);
    }
    loop {
        if let Some((_, answer)) = lookups.answers.pop() {
            return Ok(answer);
        }
        let deadline = lookups.next_deadline();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        poll_once(&mut poll, &mut events, timeout)?;
        for event in &events {
            if let EventSource::Dns(exchange) = EventSource::of(event.token()) {
                lookups.event(exchange, event.is_writable(), &registry, Instant::now());
            }
        }
        lookups.expire(&registry, Instant::now());
    }
}

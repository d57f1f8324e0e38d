//! Sessions to a target that says nothing and ends nothing, closed by the client at once: for as long as the server
//! waits for the other direction, they hold its descriptors.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::plan::HostilePlan;
use super::wire::{CONNECT, METHOD_AND_REPLY, session};
use crate::fault::Fault;

struct Silent {
    target: SocketAddr,
}

pub(crate) fn arm(plan: &HostilePlan) -> Result<Armed, Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Fault::Local)?;
    let target = listener.local_addr().map_err(Fault::Local)?;
    let most = plan.force.count;
    thread::spawn(move || {
        let mut kept = Vec::new();
        while (kept.len() as u64) < most
            && let Ok((stream, _)) = listener.accept()
        {
            kept.push(stream);
        }
        // What was accepted stays open until the process ends, which the thread does not outlive.
        loop {
            thread::park();
        }
    });
    Ok(Armed::new(Silent { target }, Who::Anybody))
}

impl AttackScript for Silent {
    fn attempt(&mut self, _number: u64) -> Attempt {
        let opening = session(CONNECT, self.target, None);
        Attempt { opening, answer: Some(METHOD_AND_REPLY), ..Attempt::default() }
    }
}

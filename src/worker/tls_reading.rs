//! TLS below a handshake: records come of the client's socket, and what they hold goes to the session.

use std::ops::ControlFlow;

use zeroize::Zeroizing;

use super::connection::Connection;
use super::core::Core;
use super::handshake::{Handshake, left};
use super::next::Next;
use super::tls_client::TlsClient;
use crate::auth::Identity;
use crate::limits;
use crate::observe::{Counted, LoginMethod, LoginResult, TlsOutcome, TlsSpoken};
use crate::proto::ProtoError;
use crate::session::{Command, Failure, Input, Session, Step};
use crate::sys::Read;
use crate::tls::TlsOpened;

impl Handshake {
    /// Hands the session what the client sent behind TLS, of one record at a time.
    pub(super) fn read_tls(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
    ) -> ControlFlow<Next, Step> {
        if !self.may_hold(core, connection) {
            return ControlFlow::Continue(self.end_greedy());
        }
        let Some(mut tls) = self.client.tls.take() else { return self.nothing_yet() };
        if !tls.has_record() {
            if !self.edges.readable {
                self.client.tls = Some(tls);
                return if self.edges.fin { left(Failure::ClientLeft) } else { self.nothing_yet() };
            }
            let mut buffer = [0; limits::TLS_HANDSHAKE_READ_BYTES];
            match self.client.socket.recv(&mut buffer) {
                Read::Bytes(count) => {
                    self.edges.note_read(count, buffer.len());
                    self.first_byte_by = None;
                    tls.receive(&buffer[..count]);
                }
                Read::Blocked => self.edges.readable = false,
                Read::End => return left(Failure::ClientLeft),
                Read::Failed(_) => return left(Failure::ClientReset),
            }
        }
        if let Some(first) = tls.speaks_otherwise() {
            core.counters.count(Counted::TlsHandshake(TlsOutcome::Failed, TlsSpoken::Unknown));
            // What it is told it is told as it speaks.
            let failure = Failure::Protocol(ProtoError::NotTls);
            return ControlFlow::Continue(self.session.turn_away(first, failure));
        }
        if tls.has_record() && tls.shakes_hands() && !core.may_step() {
            self.client.tls = Some(tls);
            core.enqueue(connection);
            return ControlFlow::Break(Next::Wait);
        }
        let (shook, mut content, mut replies) = (tls.shakes_hands(), Zeroizing::default(), Vec::new());
        let opened = tls.open(&mut content, &mut replies);
        if !self.client.send(&replies) {
            return left(Failure::ClientReset);
        }
        if shook {
            count(core, &tls, opened.is_err());
        }
        let identity = if opened == Ok(TlsOpened::Content) { tls.take_identity() } else { None };
        self.client.tls = Some(tls);
        match opened {
            Ok(TlsOpened::Content) => {
                if let Some(identity) = identity
                    && let Err(failure) = vouch(core, &mut self.session, identity)
                {
                    return ControlFlow::Continue(self.session.turn_away(content[0], failure));
                }
                let rules = core.rules(&connection.snapshot, connection.listener);
                ControlFlow::Continue(self.session.handle(Input::Bytes(&content), rules))
            }
            Ok(TlsOpened::More) => ControlFlow::Continue(Step { output: Vec::new(), command: Command::Read }),
            Ok(TlsOpened::Ended) => left(Failure::ClientLeft),
            Err(error) => {
                let failure = Failure::Tls(error.to_string());
                // Behind an alert nothing is said.
                drop(self.session.give_up(&failure));
                ControlFlow::Continue(Step { output: Vec::new(), command: Command::Close(failure) })
            }
        }
    }
}

/// Counts a handshake once it is over.
fn count(core: &Core, tls: &TlsClient, failed: bool) {
    let (spoken, resumed) = tls.spoken();
    let outcome = match (failed, resumed) {
        (true, _) => TlsOutcome::Failed,
        (false, true) => TlsOutcome::Resumed,
        (false, false) => TlsOutcome::Full,
    };
    if failed || !tls.shakes_hands() {
        core.counters.count(Counted::TlsHandshake(outcome, spoken));
    }
}

/// Takes note of who the client is by its certificate.
fn vouch(core: &Core, session: &mut Session, identity: Result<Identity, String>) -> Result<(), Failure> {
    let result = if identity.is_ok() { LoginResult::Ok } else { LoginResult::Failed };
    core.counters.count(Counted::Login(LoginMethod::Certificate, result));
    session.vouch(identity.map_err(Failure::Certificate)?);
    Ok(())
}

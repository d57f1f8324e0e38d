//! One handshake with one proxy.

use super::error::TalkError;
use super::http::{self, TunnelReading};
use super::said::{ClientProtocol, Fed, TalkOutput, Talked};
use super::{socks4, socks5};
use crate::proto::address::{Host, Target};
use crate::proto::request::RequestCommand;
use crate::proto::userpass::Credentials;

/// A handshake with a proxy.
#[derive(Debug)]
pub struct ClientTalk {
    protocol: ClientProtocol,
    login: Option<Credentials>,
    /// What is to be asked for once the proxy is ready.
    asked: Option<(RequestCommand, Target)>,
    due: TalkDue,
}

/// What the proxy is to send next.
#[derive(Debug)]
enum TalkDue {
    /// The method of SOCKS5.
    Method,
    /// The answer to a login.
    Login,
    /// Nothing: it waits for the request.
    Nothing,
    /// The reply of SOCKS5.
    Reply,
    /// The reply of SOCKS4.
    Granted,
    /// The head of a response.
    Head(TunnelReading),
    /// Nothing: this was the end.
    Over(TalkError),
}

impl ClientTalk {
    /// Begins a handshake; what can be sent at once is added to `out`.
    pub fn begin(protocol: ClientProtocol, login: Option<Credentials>, out: &mut TalkOutput) -> ClientTalk {
        let due = match protocol {
            ClientProtocol::Socks5 => {
                socks5::greet(login.is_some(), out);
                TalkDue::Method
            }
            ClientProtocol::Socks4 | ClientProtocol::Socks4a | ClientProtocol::Http => TalkDue::Nothing,
        };
        ClientTalk { protocol, login, asked: None, due }
    }

    /// Asks for this, now or once the proxy is ready for it. It is called once.
    ///
    /// # Errors
    /// [`TalkError::Unspeakable`]: the protocol has no words for it. Nothing was sent of it.
    pub fn ask(
        &mut self,
        command: RequestCommand,
        target: Target,
        out: &mut TalkOutput,
    ) -> Result<(), TalkError> {
        self.can_ask(command, &target)?;
        self.asked = Some((command, target));
        if matches!(self.due, TalkDue::Nothing) {
            self.send_request(out)?;
        }
        Ok(())
    }

    /// Takes what has arrived and was not used before.
    pub fn feed(&mut self, input: &[u8], out: &mut TalkOutput) -> Fed {
        let mut used = 0;
        loop {
            match self.step(&input[used..], out) {
                Ok(Some((more, Talked::Pending))) => used += more,
                Ok(Some((more, talked))) => return (used + more, talked),
                Ok(None) => return (used, Talked::Pending),
                Err(error) => {
                    self.due = TalkDue::Over(error.clone());
                    return (used, Talked::Failed(error));
                }
            }
        }
    }

    /// Why nothing comes of it any more where the proxy closes its connection now.
    pub fn closed(&self) -> TalkError {
        match &self.due {
            TalkDue::Over(error) => error.clone(),
            // RFC 1928 section 3 has the client close; proxies do, too, and some before they say which method they want.
            TalkDue::Method => TalkError::Closed("before it chose a method"),
            TalkDue::Login => TalkError::Closed("in place of an answer to the login"),
            TalkDue::Nothing => TalkError::Closed("before it was asked for anything"),
            TalkDue::Reply | TalkDue::Granted => TalkError::Closed("in place of a reply"),
            TalkDue::Head(_) => TalkError::Closed("in place of a response"),
        }
    }

    /// Whether the request is on its way.
    pub fn was_asked(&self) -> bool {
        matches!(self.due, TalkDue::Reply | TalkDue::Granted | TalkDue::Head(_))
    }

    /// Whether the request is on its way, and the client's first bytes may follow it: see the head of this module.
    pub fn takes_early_bytes(&self) -> bool {
        matches!(self.due, TalkDue::Reply | TalkDue::Granted)
    }

    /// Whether the protocol has words for this.
    fn can_ask(&self, command: RequestCommand, target: &Target) -> Result<(), TalkError> {
        let what = match (command, &target.host) {
            (RequestCommand::Bind | RequestCommand::Resolve | RequestCommand::ResolvePtr, _) => {
                "a command other than CONNECT and UDP ASSOCIATE"
            }
            (RequestCommand::UdpAssociate, _) if !self.protocol.associates() => "UDP ASSOCIATE",
            (_, Host::Name(_)) if !self.protocol.takes_names() => "a name",
            (_, Host::Ip(ip)) if !self.protocol.takes_ipv6() && ip.to_canonical().is_ipv6() => {
                "an IPv6 address"
            }
            // 0.0.0.x says in 4a that a name follows.
            (_, Host::Ip(ip)) if socks4::reads_as_name(self.protocol, *ip) => "an address of 0.0.0.0/24",
            _ => return Ok(()),
        };
        Err(TalkError::Unspeakable(what))
    }

    /// Sends what was asked for; whether there was anything.
    fn send_request(&mut self, out: &mut TalkOutput) -> Result<bool, TalkError> {
        let Some((command, target)) = self.asked.take() else { return Ok(false) };
        self.due = match self.protocol {
            ClientProtocol::Socks5 => {
                socks5::request(command, &target, out);
                TalkDue::Reply
            }
            ClientProtocol::Socks4 | ClientProtocol::Socks4a => {
                socks4::request(self.login.as_ref(), &target, out)?;
                TalkDue::Granted
            }
            ClientProtocol::Http => {
                http::request(self.login.as_ref(), &target, out)?;
                TalkDue::Head(TunnelReading::default())
            }
        };
        self.login = None;
        Ok(true)
    }

    /// Takes one message. `None` where it is not whole; `Pending` where another is due.
    fn step(&mut self, input: &[u8], out: &mut TalkOutput) -> Result<Option<Fed>, TalkError> {
        match &mut self.due {
            TalkDue::Method => {
                let Some(chosen) = socks5::method(input, self.login.is_some())? else { return Ok(None) };
                match (chosen, self.login.as_ref()) {
                    (socks5::ChosenMethod::Password, Some(login)) => {
                        socks5::login(login, out)?;
                        self.due = TalkDue::Login;
                        Ok(Some((socks5::METHOD_BYTES, Talked::Pending)))
                    }
                    _ => self.ready(socks5::METHOD_BYTES, out).map(Some),
                }
            }
            TalkDue::Login => match socks5::logged_in(input)? {
                true => self.ready(socks5::STATUS_BYTES, out).map(Some),
                false => Ok(None),
            },
            // A proxy that speaks unasked is heard once it was asked: its word is taken then for what it answers.
            TalkDue::Nothing => Ok(Some((0, Talked::Ready)).filter(|_| self.asked.is_none())),
            TalkDue::Reply => Ok(socks5::reply(input)?.map(|(bound, used)| (used, Talked::Done(bound)))),
            TalkDue::Granted => Ok(socks4::reply(input)?.map(|(bound, used)| (used, Talked::Done(bound)))),
            TalkDue::Head(answer) => answer.read(input),
            TalkDue::Over(error) => Err(error.clone()),
        }
    }

    /// The proxy takes requests from here on.
    fn ready(&mut self, used: usize, out: &mut TalkOutput) -> Result<Fed, TalkError> {
        self.due = TalkDue::Nothing;
        Ok(match self.send_request(out)? {
            true => (used, Talked::Pending),
            false => (used, Talked::Ready),
        })
    }
}

//! Names and addresses that a client wants to know and not to reach (Tor's extensions to SOCKS: RESOLVE and RESOLVE_PTR).
//! What is told is judged as a target would be, at no port.

use std::net::{IpAddr, SocketAddr};

use super::command::Command;
use super::failure::Failure;
use super::handling::Handling;
use super::state::{Awaiting, Looking, Transition};
use crate::dns::{Answer, DnsError, PointerAnswer};
use crate::policy::RoutedAddress;
use crate::proto::ProtoError;
use crate::proto::address::{ATYP_NAME, Host};
use crate::proto::request::RequestCommand;

/// Begins RESOLVE: asks for the addresses of a name. An address stands for itself.
pub(super) fn begin(host: Host, used: usize, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    check_served(RequestCommand::Resolve, handling)?;
    match host {
        Host::Name(name) => {
            if handling.told(RequestCommand::Resolve, &name, 0).is_some() {
                // It is the parent's to resolve, and nothing asks a parent for that: our own servers are not told of it.
                return Err(Failure::NotThrough(RequestCommand::Resolve));
            }
            handling.may_resolve(RequestCommand::Resolve, &name, 0)?;
            Ok(Transition::Ask(Awaiting::Lookup(Looking::Addresses), used, Command::Resolve(name)))
        }
        Host::Ip(ip) => tell(&[ip], used, handling),
    }
}

/// Begins RESOLVE_PTR: asks for the name of an address.
pub(super) fn begin_reverse(
    host: &Host,
    used: usize,
    handling: &mut Handling<'_>,
) -> Result<Transition, Failure> {
    check_served(RequestCommand::ResolvePtr, handling)?;
    let Host::Ip(ip) = host else {
        return Err(Failure::Protocol(ProtoError::AddressType(ATYP_NAME)));
    };
    let allowed = judged(&[*ip], RequestCommand::ResolvePtr, handling)?;
    Ok(Transition::Ask(Awaiting::Lookup(Looking::Name), used, Command::ResolvePtr(allowed)))
}

fn check_served(command: RequestCommand, handling: &Handling<'_>) -> Result<(), Failure> {
    match handling.rules.resolve {
        true => Ok(()),
        false => Err(Failure::Protocol(ProtoError::Command(command.code()))),
    }
}

/// The name's addresses are there.
pub(super) fn resolved(answer: Answer, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    tell(&answer.map_err(Failure::Dns)?, 0, handling)
}

/// Asks whether one of these may be told: the first that policy allows. Those of IPv4 come first, for the answer has room
/// for one alone and clients cannot say of which family.
fn tell(addresses: &[IpAddr], used: usize, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    let of = |wanted: fn(&IpAddr) -> bool| addresses.iter().copied().filter(wanted);
    let mut sorted: Vec<IpAddr> = of(IpAddr::is_ipv4).collect();
    if handling.dialect.tells_ipv6() {
        sorted.extend(of(IpAddr::is_ipv6));
    }
    let allowed = judged(&sorted, RequestCommand::Resolve, handling)?;
    let ip = allowed.address.ip();
    Ok(Transition::Ask(Awaiting::Lookup(Looking::Leave { ip }), used, Command::Tell(allowed)))
}

/// The first of these that policy allows.
fn judged(
    addresses: &[IpAddr],
    command: RequestCommand,
    handling: &mut Handling<'_>,
) -> Result<RoutedAddress, Failure> {
    let allowed = handling.allowed(command, addresses.iter().map(|ip| SocketAddr::new(*ip, 0)))?;
    allowed.into_iter().next().ok_or(Failure::Dns(DnsError::NoAddress))
}

/// It may be told.
pub(super) fn told(ip: IpAddr, handling: &mut Handling<'_>) -> Transition {
    handling.succeed(SocketAddr::new(ip, 0));
    Transition::Done(Command::Answered)
}

/// The address's name is there.
pub(super) fn named(answer: PointerAnswer, handling: &mut Handling<'_>) -> Result<Transition, Failure> {
    handling.succeed_with_name(&answer.map_err(Failure::Dns)?)?;
    Ok(Transition::Done(Command::Answered))
}

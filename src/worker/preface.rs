//! What a target is told of the client, in front of the client's bytes (the PROXY protocol), where `[[proxy_out]]` says so.
//!
//! A header has the addresses of both ends or of none. Where a parent resolves the target's name its address is not known here, and
//! so none is told (`UNKNOWN`, or the family UNSPEC): 0.0.0.0 in its place would be an address, and who connects to that connects to
//! itself. The target expects a header all the same, and without one would take the client's first bytes for it.

use super::connection::Connection;
use super::core::Core;
use crate::config::ProxyTlv;
use crate::limits;
use crate::observe::live::SessionId;
use crate::proto::proxy_protocol::{Tlvs, encode_v1, encode_v2};
use crate::proto::request::RequestCommand;
use crate::session::Facts;

/// The header for the target that was dialled; `None` where it expects none. A peer that connected by itself is told nothing.
pub(super) fn header(core: &Core, connection: &Connection, facts: &Facts) -> Option<Vec<u8>> {
    let tables = &connection.snapshot.config.proxy_out;
    if tables.is_empty() || facts.command != Some(RequestCommand::Connect) {
        return None;
    }
    let (name, port) = (facts.name(), facts.target.as_ref()?.port);
    let table = tables.iter().find(|table| match connection.address {
        Some(address) => table.has(name, address),
        None => name.is_some_and(|name| table.has_name(name, port)),
    })?;
    let client = Some(connection.peer).filter(|client| *client != limits::UNIX_CLIENT);
    let ends = client.zip(connection.address);
    let mut header = Vec::new();
    if table.version == 1 {
        encode_v1(ends, &mut header);
        return Some(header);
    }
    let Core { boot, number, .. } = *core;
    let id = SessionId { boot, worker: number as u16, serial: connection.serial }.to_string();
    let has = |tlv| table.tlvs.contains(&tlv);
    let tlvs = Tlvs {
        authority: name.map(|name| name.as_str()).filter(|_| has(ProxyTlv::Authority)),
        unique_id: has(ProxyTlv::UniqueId).then_some(id.as_bytes()),
        crc32c: has(ProxyTlv::Crc32c),
    };
    encode_v2(ends, tlvs, &mut header);
    Some(header)
}

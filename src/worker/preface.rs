//! What a target is told of the client, in front of the client's bytes (the PROXY protocol), where `[[proxy_out]]` says so.

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
    let target = connection.address?;
    let table = tables.iter().find(|table| table.has(facts.name(), target))?;
    let client = Some(connection.peer).filter(|client| *client != limits::UNIX_CLIENT);
    let mut header = Vec::new();
    if table.version == 1 {
        encode_v1(client, target, &mut header);
        return Some(header);
    }
    let Core { boot, number, .. } = *core;
    let id = SessionId { boot, worker: number as u16, serial: connection.serial }.to_string();
    let has = |tlv| table.tlvs.contains(&tlv);
    let tlvs = Tlvs {
        authority: facts.name().map(|name| name.as_str()).filter(|_| has(ProxyTlv::Authority)),
        unique_id: has(ProxyTlv::UniqueId).then_some(id.as_bytes()),
        crc32c: has(ProxyTlv::Crc32c),
    };
    encode_v2(client, target, tlvs, &mut header);
    Some(header)
}

//! DNS messages: one question out, one judgement of an answer in (RFC 1035, 2308, 6891).
//!
//! hickory reads and writes the wire format; this module decides what to believe. Only the header, the
//! question, the answer section and the authority section are read. The additional section holds
//! nothing that a stub needs (addresses there are glue, and the EDNS record would only add BADVERS,
//! which no server gives to version 0), so it cannot do harm either.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::Transport;
use crate::limits::{
    DNS_ADDRESSES, DNS_CNAMES, DNS_NEGATIVE_TTL, DNS_NEGATIVE_TTL_MAX, DNS_TTL_MAX, DNS_UDP_PAYLOAD,
};

/// An address family, as the question for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn record_type(self) -> RecordType {
        match self {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        }
    }
}

/// What a message that answers the question says. Times to live are bounded already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// At least one address.
    Found { addresses: Vec<IpAddr>, ttl: Duration },
    /// The name exists without an address of this family.
    NoData { ttl: Duration },
    /// The name does not exist.
    NxDomain { ttl: Duration },
    /// The answer did not fit: ask again over TCP.
    Truncated,
    /// The server could not read the question: ask again without EDNS.
    FormErr,
    /// This server will not help: SERVFAIL, REFUSED, a referral, a CNAME loop, damaged records.
    Failed,
}

/// The name as it goes on the wire, or `None` if DNS cannot hold it (empty, a label empty or over 63
/// octets, over 255 in all). The octets are taken as they are: dots alone separate labels.
pub(super) fn parse_name(name: &str) -> Option<Name> {
    if name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return None;
    }
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()
}

/// One query for recursion; over TCP with its length in front (RFC 1035 section 4.2.2).
pub(super) fn encode(id: u16, name: &Name, family: Family, edns: bool, transport: Transport) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), family.record_type()));
    if edns {
        let mut offer = Edns::new();
        offer.set_max_payload(DNS_UDP_PAYLOAD).set_version(0);
        message.set_edns(offer);
    }
    // One name of at most 255 octets always fits: there is no error to tell, and an empty payload
    // would only cost a try.
    let bytes = message.to_vec().unwrap_or_default();
    match transport {
        Transport::Udp => bytes,
        Transport::Tcp => {
            let length = u16::try_from(bytes.len()).unwrap_or(0);
            [&length.to_be_bytes()[..], &bytes].concat()
        }
    }
}

/// The ID of a message, by which the question that it may answer is found.
pub(super) fn id_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
}

/// Judges a message. `None` means that it is no answer to this question and is to be ignored: another
/// ID, a query, another opcode, another question. Once all of that fits, a message that cannot be read
/// is the server's failure.
pub(super) fn decode(
    bytes: &[u8],
    id: u16,
    name: &Name,
    family: Family,
    transport: Transport,
) -> Option<Reply> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let meta = header.metadata;
    if meta.id != id || meta.message_type != MessageType::Response || meta.op_code != OpCode::Query {
        return None;
    }
    if header.counts.queries == 0 && meta.response_code == ResponseCode::FormErr {
        // A server that could not read the question cannot repeat it. All that a forger gains from
        // this is a question without EDNS.
        return Some(Reply::FormErr);
    }
    if header.counts.queries != 1 {
        return None;
    }
    let question = Query::read(&mut decoder).ok()?;
    if !question.name.eq_ignore_root(name)
        || question.query_type != family.record_type()
        || question.query_class != DNSClass::IN
    {
        return None;
    }
    match meta.response_code {
        ResponseCode::FormErr => return Some(Reply::FormErr),
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        _ => return Some(Reply::Failed),
    }
    if meta.truncation && transport == Transport::Udp {
        return Some(Reply::Truncated);
    }
    let mut section = |count: u16| {
        Message::read_records(&mut decoder, count.into(), false, OpCode::Query).map(|(records, ..)| records)
    };
    let (Ok(answers), Ok(authorities)) = (section(header.counts.answers), section(header.counts.authorities))
    else {
        return Some(Reply::Failed);
    };
    if meta.response_code == ResponseCode::NXDomain {
        return Some(Reply::NxDomain { ttl: negative_ttl(&authorities) });
    }
    let lame = !meta.recursion_available && !meta.authoritative;
    Some(judge(&answers, &authorities, name, family, lame))
}

/// The answer of a message without error.
fn judge(answers: &[Record], authorities: &[Record], name: &Name, family: Family, lame: bool) -> Reply {
    let Some((target, alias_ttl)) = follow(answers, name) else { return Reply::Failed };
    let mut ttl = alias_ttl;
    let mut addresses = Vec::new();
    for record in answers.iter().filter(|record| is_of(record, target)) {
        let address = match (&record.data, family) {
            (RData::A(a), Family::V4) => IpAddr::V4(a.0),
            (RData::AAAA(aaaa), Family::V6) => IpAddr::V6(aaaa.0),
            _ => continue,
        };
        ttl = ttl.min(seconds(record.ttl));
        if addresses.len() < DNS_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if !addresses.is_empty() {
        return Reply::Found { addresses, ttl };
    }
    // RFC 2308 section 2.2: name servers and no SOA is a referral, and this server does not recurse.
    let refers = authorities.iter().any(|record| matches!(record.data, RData::NS(_)));
    let denies = authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
    if lame && refers && !denies {
        return Reply::Failed;
    }
    Reply::NoData { ttl: negative_ttl(authorities).min(alias_ttl) }
}

/// Follows the aliases from `name` to the name that should have the addresses, whatever order the
/// records stand in; with the shortest time to live on the way. `None` for a loop or a chain of more
/// than [`DNS_CNAMES`].
fn follow<'a>(answers: &'a [Record], name: &'a Name) -> Option<(&'a Name, Duration)> {
    let mut target = name;
    let mut ttl = DNS_TTL_MAX;
    for _ in 0..=DNS_CNAMES {
        let alias = answers.iter().filter(|record| is_of(record, target)).find_map(|record| {
            if let RData::CNAME(canonical) = &record.data { Some((&canonical.0, record.ttl)) } else { None }
        });
        let Some((canonical, alias_ttl)) = alias else { return Some((target, ttl)) };
        ttl = ttl.min(seconds(alias_ttl));
        target = canonical;
    }
    None
}

fn is_of(record: &Record, name: &Name) -> bool {
    record.dns_class == DNSClass::IN && record.name.eq_ignore_root(name)
}

/// A time to live within its bound. RFC 2181 section 8: one with the top bit set counts as zero.
fn seconds(ttl: u32) -> Duration {
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    Duration::from_secs(ttl.into()).min(DNS_TTL_MAX)
}

/// RFC 2308 section 5: the lesser of the SOA record's own time to live and its MINIMUM field.
fn negative_ttl(authorities: &[Record]) -> Duration {
    let soa = authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(seconds(record.ttl).min(seconds(soa.minimum))),
        _ => None,
    });
    soa.unwrap_or(DNS_NEGATIVE_TTL).min(DNS_NEGATIVE_TTL_MAX)
}

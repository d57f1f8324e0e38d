//! DNS messages: one question out, one judgement of an answer in (RFC 1035, 2308, 6891).
//!
//! hickory reads names and writes queries; `record` takes the sections apart; this module decides what to
//! believe. What is not needed for the answer cannot spoil it: of the authority section only the times of a
//! negative answer are wanted, of the additional section only the upper bits of the response code.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::Transport;
use super::record::{Data, Reader, Record, Section};
use crate::limits::{
    DNS_ADDRESSES, DNS_CNAMES, DNS_NEGATIVE_TTL, DNS_NEGATIVE_TTL_MAX, DNS_TTL_MAX, DNS_UDP_PAYLOAD,
};
use crate::proto::address::{Host, Name as HostName};

/// What is asked for: the addresses of a family, or the name of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    V4,
    V6,
    Pointer,
}

impl RecordKind {
    fn record_type(self) -> RecordType {
        match self {
            RecordKind::V4 => RecordType::A,
            RecordKind::V6 => RecordType::AAAA,
            RecordKind::Pointer => RecordType::PTR,
        }
    }
}

/// What a message that answers the question says. Times to live are bounded already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// At least one address.
    Found { addresses: Vec<IpAddr>, ttl: Duration },
    /// The name of an address.
    Named { name: HostName, ttl: Duration },
    /// The name exists without what was asked for.
    NoData { ttl: Duration },
    /// The name does not exist.
    NxDomain { ttl: Duration },
    /// The answer did not fit: ask again over TCP.
    Truncated,
    /// An error that servers give to what they do not know: ask again without EDNS (RFC 6891 section 7, and
    /// RFC 2671 section 5.3 for the older ones).
    Unable,
    /// This server will not help: REFUSED, a referral, an empty answer of one that does not recurse, a CNAME
    /// loop, damaged records.
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
pub(super) fn encode(id: u16, name: &Name, kind: RecordKind, edns: bool, transport: Transport) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind.record_type()));
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
/// ID, a query, another opcode, another question.
pub(super) fn decode(
    bytes: &[u8],
    id: u16,
    name: &Name,
    kind: RecordKind,
    transport: Transport,
) -> Option<Response> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let meta = header.metadata;
    if meta.id != id || meta.message_type != MessageType::Response || meta.op_code != OpCode::Query {
        return None;
    }
    let code = meta.response_code;
    if header.counts.queries == 0 && matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) {
        // A server that could not read the question cannot repeat it. All that a forger gains from
        // this is a question without EDNS.
        return Some(Response::Unable);
    }
    if header.counts.queries != 1 {
        return None;
    }
    let question = Query::read(&mut decoder).ok()?;
    if !question.name.eq_ignore_root(name)
        || question.query_type != kind.record_type()
        || question.query_class != DNSClass::IN
    {
        return None;
    }
    match code {
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::ServFail => {
            return Some(Response::Unable);
        }
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        _ => return Some(Response::Failed),
    }
    if meta.truncation && transport == Transport::Udp {
        return Some(Response::Truncated);
    }
    let mut reader = Reader::new(bytes, decoder.index());
    let answers = reader.section(header.counts.answers);
    if answers.is_cut && transport == Transport::Udp {
        // Cut on its way, by something that did not say so.
        return Some(Response::Truncated);
    }
    let authorities = reader.section(header.counts.authorities);
    if code == ResponseCode::NXDomain {
        return Some(Response::NxDomain { ttl: negative_ttl(&authorities) });
    }
    let reply = wanted(&answers, name, kind);
    if matches!(reply, Response::Found { .. } | Response::Named { .. } | Response::Failed) {
        return Some(reply);
    }
    if authorities.is_cut && transport == Transport::Udp {
        return Some(Response::Truncated);
    }
    if reader.section(header.counts.additionals).records.iter().any(|record| record.extends_code()) {
        // BADVERS and what else has more than four bits.
        return Some(Response::Unable);
    }
    let lame = !meta.recursion_available && !meta.authoritative;
    Some(empty(&answers, &authorities, &reply, lame))
}

/// What was asked for, or how the search for it failed; `NoData` with the shortest time of the aliases where there
/// is nothing.
fn wanted(answers: &Section, name: &Name, kind: RecordKind) -> Response {
    let Some((target, alias_ttl)) = follow(&answers.records, name) else { return Response::Failed };
    let owned = || answers.records.iter().filter(|record| record.owner.eq_ignore_root(target));
    let found = match kind {
        RecordKind::V4 | RecordKind::V6 => addresses(owned(), kind, alias_ttl),
        RecordKind::Pointer => pointer(owned(), alias_ttl),
    };
    match found {
        Some(found) => found,
        // What could not be read may have been it.
        None if answers.is_damaged || answers.is_cut => Response::Failed,
        None => Response::NoData { ttl: alias_ttl },
    }
}

/// The addresses of a family among these records.
fn addresses<'a>(
    owned: impl Iterator<Item = &'a Record>,
    kind: RecordKind,
    alias_ttl: Duration,
) -> Option<Response> {
    let mut ttl = alias_ttl;
    let mut addresses = Vec::new();
    for record in owned {
        let address = match (&record.data, kind) {
            (Data::V4(v4), RecordKind::V4) => IpAddr::V4(*v4),
            (Data::V6(v6), RecordKind::V6) => IpAddr::V6(*v6),
            _ => continue,
        };
        ttl = ttl.min(seconds(record.ttl));
        if addresses.len() < DNS_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    (!addresses.is_empty()).then_some(Response::Found { addresses, ttl })
}

/// The first name among these records that is one: whoever has the zone may write anything there.
fn pointer<'a>(mut owned: impl Iterator<Item = &'a Record>, alias_ttl: Duration) -> Option<Response> {
    owned.find_map(|record| match &record.data {
        Data::Pointer(name) => {
            let name = host_name(name)?;
            Some(Response::Named { name, ttl: alias_ttl.min(seconds(record.ttl)) })
        }
        _ => None,
    })
}

/// The text of a name, where it is one that a host may have: made canonical, and no address in any spelling.
fn host_name(name: &Name) -> Option<HostName> {
    if name.iter().any(|label| label.contains(&b'.')) {
        return None;
    }
    let text = name.iter().collect::<Vec<_>>().join(&b'.');
    match Host::parse(&text) {
        Ok(Host::Name(name)) if text.is_ascii() => Some(name),
        _ => None,
    }
}

/// A message without error and without what was asked for.
fn empty(answers: &Section, authorities: &Section, reply: &Response, lame: bool) -> Response {
    // RFC 2308 section 2.2: name servers and no SOA is a referral. A server that neither recurses nor is
    // the name's own has nothing to say about it, whether it refers or not.
    let has = |wanted: fn(&Data) -> bool| authorities.records.iter().any(|record| wanted(&record.data));
    let refers = has(|data| matches!(data, Data::NameServer));
    let denies = has(|data| matches!(data, Data::Soa { .. }));
    if lame && !denies && (refers || answers.records.is_empty()) {
        return Response::Failed;
    }
    let alias_ttl = match reply {
        Response::NoData { ttl } => *ttl,
        _ => DNS_TTL_MAX,
    };
    Response::NoData { ttl: negative_ttl(authorities).min(alias_ttl) }
}

/// Follows the aliases from `name` to the name that should have the addresses, whatever order the
/// records stand in; with the shortest time to live on the way. `None` for a loop or a chain of more
/// than [`DNS_CNAMES`].
fn follow<'a>(answers: &'a [Record], name: &'a Name) -> Option<(&'a Name, Duration)> {
    let mut target = name;
    let mut ttl = DNS_TTL_MAX;
    for _ in 0..=DNS_CNAMES {
        let owned = answers.iter().filter(|record| record.owner.eq_ignore_root(target));
        let mut alias = owned.filter_map(|record| match &record.data {
            Data::Alias(canonical) => Some((canonical, record.ttl)),
            _ => None,
        });
        let Some((canonical, alias_ttl)) = alias.next() else { return Some((target, ttl)) };
        ttl = ttl.min(seconds(alias_ttl));
        target = canonical;
    }
    None
}

/// A time to live within its bound. RFC 2181 section 8: one with the top bit set counts as zero.
fn seconds(ttl: u32) -> Duration {
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    Duration::from_secs(ttl.into()).min(DNS_TTL_MAX)
}

/// RFC 2308 section 5: the lesser of the SOA record's own time to live and its MINIMUM field.
fn negative_ttl(authorities: &Section) -> Duration {
    let soa = authorities.records.iter().find_map(|record| match record.data {
        Data::Soa { minimum } => Some(seconds(record.ttl).min(seconds(minimum))),
        _ => None,
    });
    soa.unwrap_or(DNS_NEGATIVE_TTL).min(DNS_NEGATIVE_TTL_MAX)
}

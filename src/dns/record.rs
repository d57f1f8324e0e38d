//! Resource records, one by one (RFC 1035 section 4.1.3). A record that cannot be read spoils itself alone:
//! where the next one begins is known without reading its names or its data.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const OPT: u16 = 41;
/// Class IN.
const INTERNET: u16 = 1;

/// The data of a record, as far as a stub needs it.
#[derive(Debug, PartialEq)]
pub(super) enum Data {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Alias(Name),
    /// PTR: the name of the address that the owner stands for.
    Pointer(Name),
    NameServer,
    /// SOA; holds its MINIMUM field.
    Soa {
        minimum: u32,
    },
    Opt,
    Other,
}

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) owner: Name,
    pub(super) ttl: u32,
    pub(super) data: Data,
}

impl Record {
    /// Whether it adds upper bits to the response code (RFC 6891 section 6.1.3).
    pub(super) fn extends_code(&self) -> bool {
        self.data == Data::Opt && self.ttl >> 24 != 0
    }
}

/// The records of one section that can be read.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) records: Vec<Record>,
    /// Whether a record of the section cannot be read.
    pub(super) is_damaged: bool,
    /// Whether the message ends within the section.
    pub(super) is_cut: bool,
}

/// Reads a message from some place on.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8], at: usize) -> Reader<'a> {
        Reader { message, at }
    }

    /// The next `count` records.
    pub(super) fn section(&mut self, count: u16) -> Section {
        let mut section = Section::default();
        for _ in 0..count {
            match self.record() {
                Some(Ok(record)) => section.records.push(record),
                Some(Err(())) => section.is_damaged = true,
                None => {
                    section.is_cut = true;
                    // Nothing behind this can be found.
                    self.at = self.message.len();
                    break;
                }
            }
        }
        section
    }

    /// `None` where the message ends first; an error where the record makes no sense.
    fn record(&mut self) -> Option<Result<Record, ()>> {
        let owner_at = self.at;
        self.skip_name()?;
        let kind = self.number()?;
        let class = self.number()?;
        let ttl = u32::from(self.number()?) << 16 | u32::from(self.number()?);
        let length = self.number()?;
        let (data_at, data) = (self.at, self.take(usize::from(length))?);
        let data = match (kind, class) {
            (OPT, _) => Ok(Data::Opt),
            (A, INTERNET) => <[u8; 4]>::try_from(data).map(|octets| Data::V4(octets.into())).map_err(drop),
            (AAAA, INTERNET) => {
                <[u8; 16]>::try_from(data).map(|octets| Data::V6(octets.into())).map_err(drop)
            }
            (CNAME, INTERNET) => self.name(data_at, Some(self.at)).map(Data::Alias),
            (PTR, INTERNET) => self.name(data_at, Some(self.at)).map(Data::Pointer),
            (NS, INTERNET) => Ok(Data::NameServer),
            (SOA, INTERNET) => {
                let minimum = data.last_chunk::<4>().filter(|_| data.len() >= 22);
                minimum.map(|octets| Data::Soa { minimum: u32::from_be_bytes(*octets) }).ok_or(())
            }
            _ => Ok(Data::Other),
        };
        // What is not wanted needs no owner that can be read.
        let owner = match data {
            Ok(Data::Other) => Ok(Name::root()),
            _ => self.name(owner_at, None),
        };
        Some(owner.and_then(|owner| Ok(Record { owner, ttl, data: data? })))
    }

    /// The name at some place of the message, which may point to others; `end` is where it has to end.
    fn name(&self, at: usize, end: Option<usize>) -> Result<Name, ()> {
        let at = u16::try_from(at).map_err(drop)?;
        let mut decoder = BinDecoder::new(self.message).clone(at);
        let name = Name::read(&mut decoder).map_err(drop)?;
        let ends = decoder.index();
        if end.is_none_or(|end| ends == end) { Ok(name) } else { Err(()) }
    }

    /// Goes past a name: labels up to the root or a pointer (RFC 1035 section 4.1.4).
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => return Some(()),
                0xc0.. => return self.take(1).map(|_| ()),
                length => self.take(usize::from(length & 0x3f))?,
            };
        }
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }
}

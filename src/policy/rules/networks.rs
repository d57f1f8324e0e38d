//! Rules by the blocks that an address is in.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::sets::{SetId, SetMaker};

/// Sets by blocks, each with those of the blocks that it is in.
#[derive(Debug)]
pub(super) struct BlockTable {
    ipv4: PrefixMap<Ipv4Net, SetId>,
    ipv6: PrefixMap<Ipv6Net, SetId>,
}

impl BlockTable {
    /// These blocks; one may stand there many times.
    pub(super) fn new(mut blocks: Vec<(IpNet, SetId)>, maker: &mut SetMaker) -> BlockTable {
        let mut table = BlockTable { ipv4: PrefixMap::new(), ipv6: PrefixMap::new() };
        for (block, _) in &mut blocks {
            *block = block.trunc();
        }
        // A block stands before those that are in it.
        blocks.sort_unstable_by_key(|(block, _)| (block.network(), block.prefix_len()));
        let mut around: Vec<(IpNet, SetId)> = Vec::new();
        for (block, set) in blocks {
            while around.last().is_some_and(|(outer, _)| !outer.contains(&block)) {
                around.pop();
            }
            let inherited = around.last().map_or(SetId::EMPTY, |(_, set)| *set);
            let set = maker.unite(inherited, set);
            around.push((block, set));
            match block {
                IpNet::V4(block) => table.ipv4.insert(block, set),
                IpNet::V6(block) => table.ipv6.insert(block, set),
            };
        }
        table
    }

    /// The set of an address; an IPv4-mapped one is an IPv4 address.
    pub(super) fn set_of(&self, ip: IpAddr) -> SetId {
        let set = match ip.to_canonical() {
            IpAddr::V4(ip) => self.ipv4.get_lpm(&Ipv4Net::from(ip)).map(|(_, set)| *set),
            IpAddr::V6(ip) => self.ipv6.get_lpm(&Ipv6Net::from(ip)).map(|(_, set)| *set),
        };
        set.unwrap_or(SetId::EMPTY)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.ipv4.mem_size() + self.ipv6.mem_size()
    }
}

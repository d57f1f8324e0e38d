//! Rules by ports.

use super::sets::{SetId, SetMaker};

/// Ports of one page.
const PAGE: usize = 256;

/// The sets of the ports of a page.
#[derive(Clone, Debug)]
enum PortPage {
    /// All have one.
    Same(SetId),
    /// Each has its own.
    Each(Box<[SetId; PAGE]>),
}

/// Sets by ports.
#[derive(Debug)]
pub(super) struct PortTable {
    pages: Vec<PortPage>,
}

/// A range of ports that a rule names, in the key or in its `not_` twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortSpan {
    pub(super) bit: u32,
    pub(super) negated: bool,
    pub(super) first: u16,
    pub(super) last: u16,
}

/// A port from which a rule names ports, or names them no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    port: u32,
    bit: u32,
    negated: bool,
    begins: bool,
}

impl PortTable {
    /// These ranges.
    pub(super) fn new(spans: Vec<PortSpan>, words: usize, maker: &mut SetMaker) -> PortTable {
        let mut pages = vec![PortPage::Same(SetId::EMPTY); (usize::from(u16::MAX) + 1) / PAGE];
        let (mut any, mut none) = (vec![0; words], vec![0; words]);
        let turns = turns(spans);
        for (at, turn) in turns.iter().enumerate() {
            let side = if turn.negated { &mut none } else { &mut any };
            side[turn.bit as usize / 64] ^= 1 << (turn.bit % 64);
            let next = turns.get(at + 1).map_or(u32::from(u16::MAX) + 1, |next| next.port);
            if next > turn.port {
                fill(&mut pages, turn.port as usize, next as usize, maker.keep(&any, &none));
            }
        }
        PortTable { pages }
    }

    /// The set of a port.
    pub(super) fn set_of(&self, port: u16) -> SetId {
        match &self.pages[usize::from(port) / PAGE] {
            PortPage::Same(set) => *set,
            PortPage::Each(sets) => sets[usize::from(port) % PAGE],
        }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        let each = self.pages.iter().filter(|page| matches!(page, PortPage::Each(_))).count();
        self.pages.capacity() * size_of::<PortPage>() + each * size_of::<[SetId; PAGE]>()
    }
}

/// Where what rules name changes: ranges of one rule that touch are one.
fn turns(mut spans: Vec<PortSpan>) -> Vec<Turn> {
    spans.retain(|span| span.first <= span.last);
    spans.sort_unstable();
    let mut whole: Vec<PortSpan> = Vec::new();
    for span in spans {
        match whole.last_mut() {
            Some(last) if (last.bit, last.negated) == (span.bit, span.negated) && span.first <= last.last => {
                last.last = last.last.max(span.last);
            }
            _ => whole.push(span),
        }
    }
    let ends = |span: PortSpan| {
        let PortSpan { bit, negated, first, last } = span;
        [(u32::from(first), true), (u32::from(last) + 1, false)].map(|(port, begins)| Turn {
            port,
            bit,
            negated,
            begins,
        })
    };
    let mut turns: Vec<Turn> = whole.into_iter().flat_map(ends).collect();
    turns.sort_unstable();
    turns
}

fn fill(pages: &mut [PortPage], first: usize, end: usize, set: SetId) {
    for (at, page) in pages.iter_mut().enumerate().take(end.div_ceil(PAGE)).skip(first / PAGE) {
        let start = at * PAGE;
        let (from, to) = (first.saturating_sub(start), (end - start).min(PAGE));
        if (from, to) == (0, PAGE) {
            *page = PortPage::Same(set);
            continue;
        }
        if let PortPage::Same(same) = *page {
            *page = PortPage::Each(Box::new([same; PAGE]));
        }
        if let PortPage::Each(sets) = page {
            sets[from..to].fill(set);
        }
    }
}

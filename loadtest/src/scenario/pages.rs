//! How large the pages of a fleet are: sizes with weights, as `2k:30,16k:40,1m:8`.

use std::str::FromStr;

use crate::seeded::Seeded;

/// Sizes that a distribution may name, and the largest of them.
const KINDS_MAX: usize = 64;
const PAGE_BYTES_MAX: u64 = 1 << 30;
const WEIGHT_MAX: u64 = 1_000_000;

/// Sizes with their weights; the sum of these is above 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pages(Vec<PageKind>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageKind {
    bytes: u64,
    weight: u64,
}

impl Pages {
    /// The size of the next page.
    pub(crate) fn draw(&self, chance: &mut Seeded) -> u64 {
        let mut at = chance.below(self.weights());
        for kind in &self.0 {
            match at.checked_sub(kind.weight) {
                Some(rest) => at = rest,
                None => return kind.bytes,
            }
        }
        unreachable!("drawn below the sum of the weights")
    }

    fn weights(&self) -> u64 {
        self.0.iter().map(|kind| kind.weight).sum()
    }
}

impl FromStr for Pages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pages = Self(text.split(',').map(PageKind::parse).collect::<Result<_, _>>()?);
        match pages.0.len() {
            ..=KINDS_MAX if pages.weights() > 0 => Ok(pages),
            ..=KINDS_MAX => Err("all weights are 0".to_owned()),
            more => Err(format!("{more} sizes, {KINDS_MAX} at most")),
        }
    }
}

impl PageKind {
    fn parse(text: &str) -> Result<Self, String> {
        let (size, weight) =
            text.trim().split_once(':').ok_or_else(|| format!("{text:?}: expected SIZE:WEIGHT"))?;
        let (digits, unit) = match size.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1 << 10),
            None => match size.strip_suffix(['m', 'M']) {
                Some(digits) => (digits, 1 << 20),
                None => (size, 1),
            },
        };
        let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
        let bytes = bytes.filter(|bytes| (1..=PAGE_BYTES_MAX).contains(bytes));
        let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
        Ok(Self {
            bytes: bytes
                .ok_or_else(|| format!("{size:?}: expected 1 to 1024m bytes, such as 500, 16k or 5m"))?,
            weight: weight.ok_or_else(|| format!("a weight in {text:?}: expected 0 to {WEIGHT_MAX}"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_weights_decide() {
        let pages: Pages = "500:1,2k:0,1m:3".parse().expect("a distribution");
        let mut chance = Seeded::new(1, 0);
        let drawn: Vec<u64> = (0..4000).map(|_| pages.draw(&mut chance)).collect();
        let count = |bytes| drawn.iter().filter(|drawn| **drawn == bytes).count();
        assert_eq!(count(500) + count(1 << 20), 4000);
        assert!((900..1100).contains(&count(500)), "{}", count(500));
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for wrong in ["", "2k", "2k:", ":3", "2k:1,", "0:1", "2k:0", "2x:1", "1025m:1", "2k:-1", "2k:1000001"]
        {
            assert!(wrong.parse::<Pages>().is_err(), "{wrong:?}");
        }
    }
}

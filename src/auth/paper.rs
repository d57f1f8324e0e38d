//! For tests: a mechanism made of paper, so that every byte around its tokens can be seen.

use super::seal::{Opened, Protect, SealError};
use crate::sys::gssapi::Order;

/// A context whose tokens say openly what they are: `t`, whether confidential, the number, and the content with its
/// case turned.
#[derive(Debug, Default)]
pub(crate) struct Paper {
    sent: u8,
    due: u8,
}

fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x20).collect()
}

pub(crate) fn token(confidential: bool, number: u8, plain: &[u8]) -> Vec<u8> {
    [&[b't', confidential.into(), number][..], &turned(plain)].concat()
}

impl Protect for Paper {
    fn wrap(&mut self, plain: &[u8], confidential: bool, out: &mut Vec<u8>) -> Result<(), SealError> {
        out.extend(token(confidential, self.sent, plain));
        self.sent += 1;
        Ok(())
    }

    fn unwrap(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<Opened, SealError> {
        let [b't', confidential @ (0 | 1), number, content @ ..] = token else {
            return Err(SealError::Library("defective token".to_owned()));
        };
        let order = match number.cmp(&self.due) {
            std::cmp::Ordering::Less => Order::Duplicate,
            std::cmp::Ordering::Equal => Order::InSequence,
            std::cmp::Ordering::Greater => Order::Gap,
        };
        self.due = self.due.max(number + 1);
        out.extend(turned(content));
        Ok(Opened { confidential: *confidential == 1, order })
    }

    fn plain_max(&self, _: bool, token_max: usize) -> Result<usize, SealError> {
        Ok(token_max.saturating_sub(3))
    }
}

//! For tests: a mechanism made of paper, so that every byte around its tokens can be seen.

use super::{MessageOrder, Opened, Protect, SealError};

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
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }

    fn unwrap(&mut self, token: &[u8], out: &mut Vec<u8>) -> Result<Opened, SealError> {
        let [b't', confidential @ (0 | 1), number, content @ ..] = token else {
            return Err(SealError::Library("defective token".to_owned()));
        };
        // Numbers begin anew behind 255: what is less than 128 ahead comes later.
        let order = match number.wrapping_sub(self.due) {
            0 => MessageOrder::InSequence,
            1..128 => MessageOrder::Gap,
            128.. => MessageOrder::Duplicate,
        };
        if order != MessageOrder::Duplicate {
            self.due = number.wrapping_add(1);
        }
        out.extend(turned(content));
        Ok(Opened { confidential: *confidential == 1, order })
    }

    fn plain_max(&self, _: bool, token_max: usize) -> Result<usize, SealError> {
        Ok(token_max.saturating_sub(3))
    }
}

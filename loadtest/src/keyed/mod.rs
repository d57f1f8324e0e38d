//! Keyed byte streams: each session's bytes are its own, in both directions.

pub(crate) mod script;
pub(crate) mod stream;

pub(crate) use self::stream::Keyed;

impl Keyed {
    /// The stream toward the origin of the session with this key.
    pub(crate) fn up(key: u64) -> Self {
        Self::new(key)
    }

    /// The stream toward the client.
    pub(crate) fn down(key: u64) -> Self {
        Self::new(!key)
    }
}

#[cfg(test)]
mod tests {
    use super::stream::CHUNK;
    use super::*;

    fn taken(stream: &mut Keyed, len: usize) -> Vec<u8> {
        let bytes = stream.window(len as u64).to_vec();
        stream.advance(len);
        bytes
    }

    #[test]
    fn a_stream_is_the_same_in_any_pieces() {
        let (mut one, mut other) = (Keyed::up(9), Keyed::up(9));
        let mut pieces = Vec::new();
        // Past the end of the block: the windows go round.
        for len in [1, 1000, CHUNK, CHUNK, CHUNK, CHUNK, CHUNK, 77] {
            pieces.extend(taken(&mut one, len));
        }
        assert_eq!(other.check(&pieces), Ok(()));
        assert_eq!(other.count, pieces.len() as u64);
    }

    #[test]
    fn every_kind_of_change_is_found_where_it_is() {
        let good = taken(&mut Keyed::up(9), 1000);
        let found = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            Keyed::up(9).check(&bytes)
        };
        let near = |position: Result<(), u64>| (500..520).contains(&position.expect_err("a change"));
        assert_eq!(found(&|b| b[500] ^= 1), Err(500));
        assert!(near(found(&|b| {
            b.remove(500);
        })));
        assert!(near(found(&|b| b.insert(500, b[500]))));
        assert_eq!(found(&|_| {}), Ok(()));
    }

    #[test]
    fn sessions_and_directions_differ() {
        let first = |mut stream: Keyed| taken(&mut stream, 16);
        let streams =
            [first(Keyed::up(1)), first(Keyed::down(1)), first(Keyed::up(2)), first(Keyed::down(2))];
        for (at, stream) in streams.iter().enumerate() {
            assert!(!streams[..at].contains(stream));
        }
    }
}

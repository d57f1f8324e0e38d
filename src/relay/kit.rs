//! What a worker lends to its halves: one scratch buffer, spare buffers for what a sink did not take, pipes.

use crate::limits;

/// Bytes that were read and not yet written, in a lent buffer.
#[derive(Debug)]
pub(super) struct Spare {
    buffer: Vec<u8>,
    written: usize,
}

impl Spare {
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.written += count;
    }
}

/// Memory for opening and sealing; holds nothing between two reads.
#[derive(Debug, Default)]
pub(super) struct SealKit {
    /// What a read brings.
    pub(super) raw: Vec<u8>,
    /// What is made of it.
    pub(super) content: Vec<u8>,
}

/// Has something done with the memory for opening and sealing beside the rest of the kit.
pub(super) fn with_seal_kit<P, T>(kit: &mut Kit<P>, work: impl FnOnce(&mut SealKit, &mut Kit<P>) -> T) -> T {
    let mut seal_kit = std::mem::take(&mut kit.seal);
    let done = work(&mut seal_kit, kit);
    kit.seal = seal_kit;
    done
}

/// Why no pipe could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPipe {
    /// As many are lent as may be.
    Ceiling,
    /// The kernel refused one.
    Refused,
}

impl NoPipe {
    /// Every cause, in the order of its number.
    pub const ALL: [NoPipe; 2] = [NoPipe::Ceiling, NoPipe::Refused];

    /// The word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            NoPipe::Ceiling => "ceiling",
            NoPipe::Refused => "refused",
        }
    }
}

/// Buffers and pipes of one worker, lent to whoever has bytes pending.
#[derive(Debug)]
pub struct Kit<P> {
    /// Read into by every half in turn; holds nothing between two pumps.
    pub(super) scratch: Box<[u8]>,
    /// For sealed sessions; made for the first.
    pub(super) seal: SealKit,
    #[expect(clippy::vec_box, reason = "a spare is lent as a box, to keep idle halves small")]
    spares: Vec<Box<Spare>>,
    spare_bytes_lent: usize,
    pipes: Vec<P>,
    pipes_lent: usize,
    pipes_max: usize,
    /// Pipes that could not be had, by [`NoPipe`] in the order of [`NoPipe::ALL`]: the half copied instead.
    pipe_fallbacks: [u64; NoPipe::ALL.len()],
}

impl<P> Kit<P> {
    /// A kit that lends at most `pipes_max` pipes at a time.
    pub fn new(pipes_max: usize) -> Kit<P> {
        Kit {
            scratch: vec![0; limits::SCRATCH_BYTES].into_boxed_slice(),
            seal: SealKit::default(),
            spares: Vec::new(),
            spare_bytes_lent: 0,
            pipes: Vec::new(),
            pipes_lent: 0,
            pipes_max,
            pipe_fallbacks: [0; NoPipe::ALL.len()],
        }
    }

    /// Lends at most so many pipes at a time from now on.
    pub fn set_pipes_max(&mut self, pipes_max: usize) {
        self.pipes_max = pipes_max;
        self.pipes.truncate(pipes_max.saturating_sub(self.pipes_lent));
    }

    /// The scratch buffer, for bytes that are read and dropped.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    /// How much one read may take: less once slow sinks hold much of the worker's memory.
    pub(super) fn read_bytes(&self) -> usize {
        if self.spare_bytes_lent > limits::SPARE_BYTES_SOFT_MAX {
            limits::SCRATCH_TIGHT_BYTES
        } else {
            self.scratch.len()
        }
    }

    /// Keeps a copy of bytes that a sink did not take.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Box<Spare> {
        let mut spare =
            self.spares.pop().unwrap_or_else(|| Box::new(Spare { buffer: Vec::new(), written: 0 }));
        spare.buffer.clear();
        spare.buffer.extend_from_slice(bytes);
        spare.written = 0;
        self.spare_bytes_lent += spare.buffer.capacity();
        spare
    }

    /// Keeps part of the scratch buffer.
    pub(super) fn keep_scratch(&mut self, range: std::ops::Range<usize>) -> Box<Spare> {
        let scratch = std::mem::take(&mut self.scratch);
        let spare = self.keep(&scratch[range]);
        self.scratch = scratch;
        spare
    }

    /// Takes a spare back.
    pub(super) fn give_back_spare(&mut self, spare: Box<Spare>) {
        self.spare_bytes_lent -= spare.buffer.capacity();
        if self.spares.len() < limits::SPARES_POOLED_MAX {
            self.spares.push(spare);
        }
    }

    /// Lends a pipe, opening one with `open` when none is pooled. `None` means copy.
    pub(super) fn lend_pipe<E>(&mut self, open: impl FnOnce(usize) -> Result<P, E>) -> Option<P> {
        let pipe = match self.pipes.pop() {
            Some(pipe) => Ok(pipe),
            None if self.pipes_lent < self.pipes_max => open(limits::PIPE_BYTES).map_err(|_| NoPipe::Refused),
            None => Err(NoPipe::Ceiling),
        };
        match pipe {
            Ok(_) => self.pipes_lent += 1,
            Err(cause) => self.pipe_fallbacks[cause as usize] += 1,
        }
        pipe.ok()
    }

    /// Takes an empty pipe back.
    pub(super) fn give_back_pipe(&mut self, pipe: P) {
        self.pipes_lent -= 1;
        if self.pipes.len() < limits::PIPES_POOLED_MAX.min(self.pipes_max.saturating_sub(self.pipes_lent)) {
            self.pipes.push(pipe);
        }
    }

    /// Closes a pipe that still holds bytes: it must serve nobody else.
    pub(super) fn close_pipe(&mut self, pipe: P) {
        self.pipes_lent -= 1;
        drop(pipe);
    }

    /// Pipes that could not be had since this was last asked, by [`NoPipe`] in the order of [`NoPipe::ALL`].
    pub fn take_pipe_fallbacks(&mut self) -> [u64; NoPipe::ALL.len()] {
        std::mem::take(&mut self.pipe_fallbacks)
    }

    /// Pipes lent and pipes pooled.
    pub fn pipes(&self) -> (usize, usize) {
        (self.pipes_lent, self.pipes.len())
    }

    /// Bytes of memory that slow sinks hold.
    pub fn spare_bytes_lent(&self) -> usize {
        self.spare_bytes_lent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kit_that_may_lend_less_closes_what_is_too_much() {
        let mut kit = Kit::new(4);
        let lend = |kit: &mut Kit<()>| kit.lend_pipe(|_| Ok::<_, ()>(()));
        let lent: Vec<_> = (0..4).map_while(|_| lend(&mut kit)).collect();
        assert_eq!((lent.len(), lend(&mut kit)), (4, None));
        kit.give_back_pipe(());
        kit.set_pipes_max(2);
        assert_eq!(kit.pipes(), (3, 0), "more are lent than may be");
        kit.give_back_pipe(());
        assert_eq!((kit.pipes(), lend(&mut kit)), ((2, 0), None));
        kit.give_back_pipe(());
        assert_eq!(kit.pipes(), (1, 1));
        kit.set_pipes_max(3);
        assert_eq!((lend(&mut kit), lend(&mut kit), kit.pipes()), (Some(()), Some(()), (3, 0)));
    }
}

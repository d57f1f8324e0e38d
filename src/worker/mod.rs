//! The shell: the only mio, clock and slab.

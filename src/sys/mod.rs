//! Typed outcomes around system calls; the only unsafe code.

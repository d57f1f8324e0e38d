//! Threads, signals, drain.

//! The load generator from outside: its own binary against small servers written here by hand.

mod options;
mod support;

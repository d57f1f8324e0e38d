//! outflow: a SOCKS and HTTP proxy for Linux.
//!
//! The modules stand in the order in which a connection's data meets them; ARCHITECTURE.md draws the
//! map and states what each of them must not do.
#![deny(unsafe_code)]

pub mod limits;

pub mod outbound;
pub mod outcome;
pub mod shares;
pub mod threads;

mod console;

pub mod proto;

#[allow(unsafe_code, reason = "the only module that may hold unsafe code")]
pub mod sys;

pub mod config;

pub mod seal;

pub mod state;

pub mod auth;
pub mod dns;
pub mod policy;

pub mod tls;

pub mod session;

pub mod relay;

pub mod observe;

pub mod worker;

pub mod admin;

pub mod control;

pub mod cli;

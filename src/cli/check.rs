//! `outflow check`: is this configuration right, and what does it come to?

use std::io::Write;
use std::process::ExitCode;

use crate::auth::{Users, gssapi};
use crate::config::{AuthMethod, Config};

/// Prints the configuration in effect, or what keeps it from working.
pub(super) fn run(config: &Config) -> ExitCode {
    if let Err(problem) = check_users(config).and_then(|()| check_gssapi(config)) {
        super::complain(&problem);
        return ExitCode::FAILURE;
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(config.to_toml().as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The users file, where passwords are asked for, is valid.
pub(super) fn check_users(config: &Config) -> Result<(), String> {
    match &config.auth.users {
        Some(users) if config.auth.methods.contains(&AuthMethod::Password) => {
            Users::load(users).map(drop).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

/// The service's credentials, where GSSAPI is among the methods, can be had.
pub(super) fn check_gssapi(config: &Config) -> Result<(), String> {
    match config.auth.methods.contains(&AuthMethod::Gssapi) {
        true => gssapi::credentials(&config.auth.gssapi).map(drop),
        false => Ok(()),
    }
}

//! What sessions are judged by.

use crate::config::{AuthMethod, Gssapi};
use crate::policy::Policy;

/// What every session of a worker is judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Methods in order of preference.
    pub methods: Vec<AuthMethod>,
    /// Who may reach what.
    pub policy: Policy,
    /// Which levels of protection GSSAPI gives.
    pub gssapi: Gssapi,
}

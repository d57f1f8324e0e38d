//! What sessions are judged by.

use crate::config::{AuthMethod, Gssapi};
use crate::policy::guard::Guard;

/// What every session of a worker is judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Methods in order of preference.
    pub methods: Vec<AuthMethod>,
    /// Which addresses may be reached.
    pub guard: Guard,
    /// Which levels of protection GSSAPI gives.
    pub gssapi: Gssapi,
}

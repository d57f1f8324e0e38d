//! What a session is judged by.

use crate::auth::username::UsernameRules;
use crate::config::{AuthMethod, Gssapi, HttpConfig, Protocol};
use crate::policy::Policy;
use crate::policy::parents::Parents;
use crate::proto::request::RequestCommand;

/// What one input is judged by, lent for it. Methods and levels are those that the session began with: a change of them
/// finds no handshake half done. Addresses are judged by the present policy, for which are this machine's is a fact.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The protocols in which a client may ask.
    pub protocols: &'a [Protocol],
    /// Methods in order of preference.
    pub methods: &'a [AuthMethod],
    /// What may be asked for where the client came in; empty: everything.
    pub commands: &'a [RequestCommand],
    /// Whether what the client says is protected below the session, by TLS.
    pub protected: bool,
    /// Which levels of protection GSSAPI gives.
    pub gssapi: &'a Gssapi,
    /// How HTTP is spoken.
    pub http: &'a HttpConfig,
    /// Whether clients may ask for names and addresses alone.
    pub resolve: bool,
    /// Whether a client of SOCKS4 has to go by the name of a user who needs no password.
    pub socks4_ident: bool,
    /// How clients type parameters of the session beside their names; `None` where nobody does.
    pub username: Option<&'a UsernameRules>,
    /// Who may reach what.
    pub policy: &'a Policy,
    /// What sessions are led through, where anything is.
    pub parents: Option<&'a Parents>,
}

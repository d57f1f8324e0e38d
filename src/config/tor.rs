//! What `[tor]` says: which of Tor's extensions to SOCKS are served.

use super::entry::tables;
use super::form::switch;

tables! {
    /// Tor's extensions to SOCKS.
    pub struct TorConfig {
        /// Clients may ask for the address of a name (RESOLVE) and the name of an address (RESOLVE_PTR).
        resolve: bool = false, switch(), Reload;
    }
}

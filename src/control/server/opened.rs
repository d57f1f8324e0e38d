//! Everything that a server listens on, opened or given.

use crate::admin::{Admin, AdminOpening};
use crate::config::Config;
use crate::control::acceptor::Acceptor;
use crate::control::handover::{Inheritance, TakeoverSocket};
use crate::control::start_error::StartError;
use crate::control::trial::Trial;
use crate::sys::congestion::CongestionControl;

/// What there is; nobody accepts on it yet.
pub(super) struct OpenedListeners {
    pub(super) acceptor: Acceptor,
    /// Where a server asks that is to take this one's place.
    pub(super) takeover: Option<TakeoverSocket>,
    pub(super) admin: Admin,
    pub(super) opening: AdminOpening,
}

impl OpenedListeners {
    /// Goes on with what was given, and opens the rest. Nothing is done yet to what was given.
    ///
    /// # Errors
    /// What cannot be had.
    pub(super) fn open(
        config: &Config,
        congestion: CongestionControl,
        inheritance: Inheritance,
    ) -> Result<OpenedListeners, StartError> {
        let Inheritance { listeners, doors, takeover } = inheritance;
        let refused = |what: &dyn Fn(&mut Trial)| StartError::Named(Trial::refused(config, what));
        let acceptor = Acceptor::open(listeners, config, congestion)
            .map_err(|(nth, error)| refused(&|trial| trial.cannot_listen(nth, &error)))?;
        let open_takeover = |path| TakeoverSocket::open(path, takeover);
        let takeover = config.server.takeover.as_deref().map(open_takeover).transpose();
        let takeover = takeover.map_err(|what| refused(&|trial| trial.cannot_be_taken_over(&what)))?;
        let admin = if takeover.is_some() { Admin::offering() } else { Admin::default() };
        let opening = admin
            .prepare(&config.admin, doors)
            .map_err(|error| refused(&|trial| trial.cannot_administer(&error)))?;
        Ok(OpenedListeners { acceptor, takeover, admin, opening })
    }
}

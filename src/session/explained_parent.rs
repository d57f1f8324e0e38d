//! Through whom a session would go: the parent that its verdict says, and what does not go through one.

use std::sync::Arc;

use super::explanation::{ExplainedParent, Explanation};
use super::failure::Failure;
use super::socks5::rep_of;
use crate::policy::parents::{ParentSpec, Parents};
use crate::policy::{ParentId, Verdict};
use crate::proto::request::RequestCommand;

impl Explanation {
    /// Says through whom it would go; nothing where it goes straight to the target, or nowhere.
    pub(super) fn tell_parent(&mut self, parents: Option<&Parents>) {
        let command = self.supposed.command;
        let allowed = self.leaves_by().and_then(|verdict| match verdict {
            // RFC 1928 section 7: an association is there before any of its datagrams is.
            Verdict::Allow(allowed) => Some(allowed),
            Verdict::Deny(..) => None,
        });
        let found = allowed.and_then(|allowed| allowed.way.parent).zip(parents);
        self.parent = found.and_then(|(id, parents)| self.explained_parent(id, parents));
        if self.parent.as_ref().is_some_and(|parent| !parent.takes) {
            self.reply = rep_of(&Failure::NotThrough(command));
        }
    }

    fn explained_parent(&self, id: ParentId, parents: &Parents) -> Option<ExplainedParent> {
        let told_name = self.is_told_name();
        let takes = match self.supposed.command {
            RequestCommand::Connect => true,
            RequestCommand::UdpAssociate => parents.takes_datagrams(id),
            RequestCommand::Bind => false,
            // An address stands for itself, and a name that is resolved here is asked of our own servers.
            RequestCommand::Resolve | RequestCommand::ResolvePtr if !told_name => return None,
            RequestCommand::Resolve | RequestCommand::ResolvePtr => false,
        };
        let ParentSpec { name, fallback, .. } = parents.parent(id)?.spec();
        Some(ExplainedParent { name: Arc::clone(name), told_name, takes, fallback: *fallback })
    }
}

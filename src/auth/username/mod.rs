//! Session parameters in what a client types as its name, or as its password: `alice-session-x7-ttl-10`.
//!
//! The user is what stands before the first parameter: the first place where a separator, a word that the format has, and a
//! separator follow each other. From there to the end everything is parameters. What is cut off here is never seen by what
//! verifies the password. A name is read once from its begin to its end, whatever it holds, and one without parameters costs
//! no allocation.

mod fault;
mod scan;
mod signature;
mod syntax;

#[cfg(test)]
mod tests;

pub use fault::{OnParameter, ParameterFault};
pub use signature::SignatureKey;
pub use syntax::{ParameterKind, ParameterSyntax, Separators, TtlUnit};

use std::time::Duration;

use self::scan::{OnFault, ReadParameters};
use super::SessionParameters;
use crate::proto::userpass::Credentials;

/// How session parameters are typed here, and what becomes of those that are not as they should be.
#[derive(Clone, Debug)]
pub struct UsernameRules {
    /// The words.
    pub syntax: ParameterSyntax,
    /// Where they are looked for.
    pub position: ParameterPosition,
    /// What becomes of a word that the format does not have, behind one that it has.
    pub on_unknown: OnParameter,
    /// What becomes of a parameter that stands there twice: of the two the first counts.
    pub on_duplicate: OnParameter,
    /// A longer time is this one.
    pub max_ttl: Duration,
    /// What parameters are signed with; `None`: nothing signs them.
    pub key: Option<SignatureKey>,
}

/// Where parameters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterPosition {
    /// Behind the name.
    User,
    /// Behind the password.
    Password,
    /// Behind either; those behind the name come first.
    Both,
}

impl UsernameRules {
    /// Cuts the parameters off a login, and gives them; absent where there are none.
    ///
    /// # Errors
    /// What is wrong with them; the login is left as it was then.
    pub fn take(&self, login: &mut Credentials) -> Result<Option<Box<SessionParameters>>, ParameterFault> {
        let prefix = self.syntax.prefix_of(&login.user);
        let user = &login.user[prefix..];
        let user_cut = self.user_cut(user);
        let password = login.password().unwrap_or_default();
        let password_cut = match self.position {
            ParameterPosition::User => None,
            ParameterPosition::Password | ParameterPosition::Both => self.syntax.cut(password),
        };
        if user_cut.is_none() && password_cut.is_none() && prefix == 0 {
            return Ok(None);
        }
        let (name, behind_name) = split(user, user_cut);
        let (secret, behind_password) = split(password, password_cut);
        if name.is_empty() || (password_cut.is_some() && secret.is_empty()) {
            return Err(ParameterFault::Incomplete);
        }
        let on = OnFault { unknown: self.on_unknown, duplicate: self.on_duplicate };
        let mut found = ReadParameters::default();
        for text in [behind_name, behind_password] {
            found.read(text, &self.syntax, on)?;
        }
        if let Some(key) = self.key.as_ref().filter(|_| user_cut.or(password_cut).is_some()) {
            let signed = found.signature.ok_or(ParameterFault::Signature)?;
            let before = signed.before(behind_name, behind_password);
            key.check([name, before[0], before[1]], signed.value)?;
        }
        let typed = (prefix > 0 || user_cut.is_some()).then(|| String::from_utf8_lossy(&login.user).into());
        let parameters = found.parameters(typed, &self.syntax, self.max_ttl)?;
        let (name_ends, secret_ends) = (prefix + name.len(), secret.len());
        login.user.truncate(name_ends);
        login.user.drain(..prefix);
        if let Some(password) = &mut login.password {
            password.truncate(secret_ends);
        }
        Ok(Some(Box::new(parameters)))
    }

    /// The user's part of what was typed as a name, whatever is wrong with the rest.
    pub fn bare<'t>(&self, typed: &'t [u8]) -> &'t [u8] {
        let user = &typed[self.syntax.prefix_of(typed)..];
        split(user, self.user_cut(user)).0
    }

    /// The parameters that stand behind a name, and the bare name, where nobody has to show a password or a signature.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn suppose(&self, typed: &str) -> Result<(String, Option<Box<SessionParameters>>), ParameterFault> {
        let unsigned = UsernameRules { key: None, ..self.clone() };
        let mut login = Credentials { user: typed.as_bytes().to_vec(), password: None };
        let parameters = unsigned.take(&mut login)?;
        Ok((String::from_utf8_lossy(&login.user).into_owned(), parameters))
    }

    fn user_cut(&self, user: &[u8]) -> Option<usize> {
        match self.position {
            ParameterPosition::Password => None,
            ParameterPosition::User | ParameterPosition::Both => self.syntax.cut(user),
        }
    }
}

/// What stands before the cut and what stands behind it.
fn split(text: &[u8], cut: Option<usize>) -> (&[u8], &[u8]) {
    text.split_at(cut.unwrap_or(text.len()))
}

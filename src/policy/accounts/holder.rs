//! What limits and those who have accounts are called outside this process, where numbers mean nothing.

use std::net::IpAddr;
use std::sync::Arc;

use super::{AccountHolder, LimitId};
use crate::policy::rule_names::RuleNames;

/// The names behind the numbers of limits, rules and listeners.
#[derive(Clone, Debug, Default)]
pub struct HolderNames {
    /// Of limits, by their numbers.
    pub limits: Arc<[Arc<str>]>,
    /// Of rules.
    pub rules: Arc<RuleNames>,
    /// Listeners by their numbers, as they are typed.
    pub listeners: Vec<(u16, Arc<str>)>,
}

impl HolderNames {
    /// What a limit is called; `None` where it is newer than this.
    pub fn limit_name(&self, LimitId(number): LimitId) -> Option<&Arc<str>> {
        self.limits.get(usize::from(number))
    }

    /// The limit of this name.
    pub fn limit(&self, name: &str) -> Option<LimitId> {
        let number = self.limits.iter().position(|one| **one == *name)?;
        u16::try_from(number).ok().map(LimitId)
    }

    /// A holder as text; `None` where it has no name any more.
    pub fn text(&self, holder: &AccountHolder) -> Option<String> {
        Some(match holder {
            AccountHolder::User(name) => format!("user:{name}"),
            AccountHolder::Group(name) => format!("group:{name}"),
            AccountHolder::Block(ip, bits) if *bits == address_bits(ip) => format!("source:{ip}"),
            AccountHolder::Block(ip, bits) => format!("source:{ip}/{bits}"),
            AccountHolder::Rule(number) => {
                let known = self.rules.iter().find(|(id, _)| id.0 == *number);
                format!("rule:{}", known?.1)
            }
            AccountHolder::Listener(number) => {
                let known = self.listeners.iter().find(|(one, _)| one == number);
                format!("listener:{}", known?.1)
            }
            AccountHolder::All => "global".to_owned(),
        })
    }

    /// The holder that is meant; `None` where there is none of this name.
    pub fn holder(&self, text: &str) -> Option<AccountHolder> {
        if text == "global" {
            return Some(AccountHolder::All);
        }
        let (kind, name) = text.split_once(':')?;
        match kind {
            "user" => Some(AccountHolder::User(name.into())),
            "group" => Some(AccountHolder::Group(name.into())),
            "source" => block(name),
            "rule" => {
                let known = self.rules.iter().find(|(_, one)| ***one == *name);
                known.map(|(id, _)| AccountHolder::Rule(id.0))
            }
            "listener" => {
                let known = self.listeners.iter().find(|(_, one)| **one == *name);
                known.map(|(number, _)| AccountHolder::Listener(*number))
            }
            _ => None,
        }
    }
}

fn address_bits(ip: &IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn block(text: &str) -> Option<AccountHolder> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip.parse().ok()?, bits.parse().ok()?),
        None => {
            let ip = text.parse().ok()?;
            (ip, address_bits(&ip))
        }
    };
    let net = ipnet::IpNet::new(ip, bits).ok()?;
    Some(AccountHolder::Block(net.trunc().addr(), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_have_names_that_mean_the_same_to_another_process() {
        let names = HolderNames {
            limits: ["plan".into(), "limits.per_user".into()].into(),
            rules: Arc::new(RuleNames::new(vec!["default".into(), "office".into()])),
            listeners: vec![(7, "127.0.0.1:1080".into())],
        };
        let block = |ip: &str, bits| AccountHolder::Block(ip.parse().unwrap(), bits);
        for (holder, text) in [
            (AccountHolder::User("ann:1".into()), "user:ann:1"),
            (AccountHolder::Group("staff".into()), "group:staff"),
            (block("192.0.2.1", 32), "source:192.0.2.1"),
            (block("192.0.2.0", 24), "source:192.0.2.0/24"),
            (block("2001:db8:0:1::", 64), "source:2001:db8:0:1::/64"),
            (AccountHolder::Rule(1), "rule:office"),
            (AccountHolder::Listener(7), "listener:127.0.0.1:1080"),
            (AccountHolder::All, "global"),
        ] {
            assert_eq!(names.text(&holder).as_deref(), Some(text));
            assert_eq!(names.holder(text), Some(holder), "{text}");
        }
        assert_eq!(names.holder("source:192.0.2.7/24"), names.holder("source:192.0.2.0/24"));
        for wrong in ["", "ann", "rule:gone", "listener:1", "source:x", "source:1.2.3.4/33", "planet:earth"] {
            assert_eq!(names.holder(wrong), None, "{wrong}");
        }
        assert_eq!(names.text(&AccountHolder::Rule(9)), None);
        assert_eq!(names.limit("limits.per_user"), Some(LimitId(1)));
        assert_eq!(names.limit_name(LimitId(0)).map(|name| &**name), Some("plan"));
    }
}

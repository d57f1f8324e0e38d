//! The parents that workers are given: made of the configuration, each with the number that its name has for as long as the process
//! lives. One that stays is the same value over a reload, and of one that changes the servers that stay are as they were.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::numbers::Numbers;
use super::parent_passwords::{passwords_read, with_passwords};
use super::rules::concerns::RuleRemark;
use crate::config::{Config, ParentConfig};
use crate::policy::parents::{Parent, ParentServer, ParentSpec, Parents};
use crate::policy::way::ParentId;

/// The parents in effect.
#[derive(Clone, Debug)]
pub(super) struct OperatorParents {
    /// With the passwords that stand in files.
    configured: Vec<ParentConfig>,
    /// Those of their names; 0 stands for none.
    numbers: Numbers,
    /// Those of their servers, by the parent's name and what records call the server.
    servers: Numbers,
    /// `None` where there is none.
    all: Option<Arc<Parents>>,
}

impl Default for OperatorParents {
    fn default() -> OperatorParents {
        OperatorParents {
            configured: Vec::new(),
            numbers: Numbers::beginning_with([""]),
            servers: Numbers::beginning_with([""]),
            all: None,
        }
    }
}

impl OperatorParents {
    /// What workers are given.
    pub(super) fn all(&self) -> Option<&Arc<Parents>> {
        self.all.as_ref()
    }

    /// The parent of this name.
    pub(super) fn number_of(&self, name: &str) -> Option<ParentId> {
        self.numbers.of(name).map(ParentId)
    }

    /// The files that have another password than in `old`, in words.
    pub(super) fn passwords_read(&self, old: &OperatorParents) -> Vec<String> {
        passwords_read(&old.configured, &self.configured)
    }

    /// The parents of a configuration, in place of these.
    ///
    /// # Errors
    /// That no number is left for one, or that its password cannot be had, at its key.
    pub(super) fn follow(
        self: &Arc<OperatorParents>,
        config: &Config,
        now: Instant,
    ) -> Result<Arc<OperatorParents>, RuleRemark> {
        let configured = with_passwords(&config.parents)?;
        if configured == self.configured {
            return Ok(Arc::clone(self));
        }
        let numbers = self.numbers.with(configured.iter().map(|parent| &parent.name));
        let numbers = numbers.map_err(|none| (("parent", none.nth, "name"), none.of("parents")))?;
        let called: Vec<(usize, Arc<str>)> = configured.iter().enumerate().flat_map(servers_of).collect();
        let servers = self.servers.with(called.iter().map(|(_, name)| name));
        let servers = servers
            .map_err(|none| (("parent", called[none.nth].0, "servers"), none.of("servers of parents")))?;
        let before: HashMap<&str, &Arc<Parent>> = self
            .all
            .iter()
            .flat_map(|all| all.iter())
            .map(|(_, parent)| (&*parent.spec().name, parent))
            .collect();
        let made = configured.iter().map(|parent| {
            let was = before.get(&*parent.name).copied();
            let spec = spec(parent, &servers);
            let parent = match was {
                Some(same) if *same.spec() == spec => Arc::clone(same),
                was => Arc::new(Parent::new(spec, was.map(|was| &**was), now)),
            };
            (ParentId(numbers.of(&parent.spec().name).unwrap_or_default()), parent)
        });
        let all = (!configured.is_empty()).then(|| Arc::new(Parents::new(made)));
        Ok(Arc::new(OperatorParents { configured, numbers, servers, all }))
    }
}

/// What the servers of a parent are known by, each with the parent's place.
fn servers_of((nth, parent): (usize, &ParentConfig)) -> impl Iterator<Item = (usize, Arc<str>)> {
    parent.servers.iter().map(move |server| (nth, known_by(&parent.name, server)))
}

/// The user is part of it: two logins at one place are two servers.
fn known_by(parent: &str, server: &ParentServer) -> Arc<str> {
    let users: Vec<String> = server
        .hops
        .iter()
        .map(|hop| hop.user.as_deref().unwrap_or_default().escape_ascii().to_string())
        .collect();
    format!("{parent} {server} {}", users.join(" ")).into()
}

fn spec(parent: &ParentConfig, numbers: &Numbers) -> ParentSpec {
    let numbered = |server: &ParentServer| ParentServer {
        number: numbers.of(&known_by(&parent.name, server)).unwrap_or_default(),
        ..server.clone()
    };
    ParentSpec {
        name: parent.name.clone(),
        servers: parent.servers.iter().map(numbered).collect(),
        select: parent.select,
        max_fails: parent.max_fails,
        fail_timeout: parent.fail_timeout,
        check: parent.check.clone(),
        resolve: parent.resolves(),
        udp: parent.udp,
        user_from: parent.user_from,
        send_proxy: parent.send_proxy,
        fallback: parent.fallback,
        warm: parent.warm,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use super::super::rules::OperatorRules;
    use super::*;
    use crate::config::Flags;
    use crate::policy::parents::ResolveAt;
    use crate::policy::rules::{Asked, Question};
    use crate::proto::address::{Host, Target};
    use crate::proto::request::RequestCommand;

    fn followed(before: &Arc<OperatorParents>, parents: &[(&str, &str)]) -> Arc<OperatorParents> {
        let table = |(name, servers): &(&str, &str)| {
            format!("[[parent]]\nname = \"{name}\"\nservers = [{servers}]\nmax_fails = 1\n")
        };
        let text: String = parents.iter().map(table).collect();
        let config = Config::parse(&text, Path::new("o.toml"), &Flags::default());
        before.follow(&config.unwrap_or_else(|problems| panic!("{problems}")), Instant::now()).unwrap()
    }

    fn parent<'a>(of: &'a OperatorParents, name: &str) -> &'a Arc<Parent> {
        of.all().unwrap().parent(of.number_of(name).unwrap()).unwrap()
    }

    #[test]
    fn a_name_keeps_its_number_and_no_other_gets_it() {
        let none = Arc::new(OperatorParents::default());
        assert!(none.all().is_none() && Arc::ptr_eq(&followed(&none, &[]), &none));
        let two = followed(&none, &[("a", "\"http://a:1\""), ("b", "\"socks5h://b\"")]);
        let (a, b) = (two.number_of("a").unwrap(), two.number_of("b").unwrap());
        assert!(a != b && a != ParentId(0) && b != ParentId(0));
        let other = followed(&two, &[("c", "\"http://c:1\""), ("b", "\"socks5h://b\"")]);
        assert_eq!(other.number_of("b"), Some(b));
        assert!(other.all().unwrap().parent(a).is_none(), "it is gone");
        assert!(![Some(a), Some(b)].contains(&other.number_of("c")));
        assert!(Arc::ptr_eq(parent(&two, "b"), parent(&other, "b")), "it has not changed");
        let back = followed(&other, &[("a", "\"http://a:1\"")]);
        assert_eq!(back.number_of("a"), Some(a));
        assert_eq!(parent(&back, "a").spec().resolve, ResolveAt::There);
        assert!(followed(&back, &[]).all().is_none());
    }

    #[test]
    fn servers_keep_their_numbers_and_what_is_known_of_them() {
        let none = Arc::new(OperatorParents::default());
        let before =
            followed(&none, &[("a", "\"http://a:1\", \"http://ann:x@b:1\""), ("b", "\"http://a:1\"")]);
        let numbers = |of: &OperatorParents, name: &str| -> Vec<u16> {
            parent(of, name).spec().servers.iter().map(|server| server.number).collect()
        };
        assert!(parent(&before, "a").failed(1, Instant::now()));
        let after = followed(&before, &[("a", "\"http://ann:x@b:1\", \"http://bob:x@b:1\"")]);
        let (was, is) = (numbers(&before, "a"), numbers(&after, "a"));
        assert!(was[1] == is[0] && !was.contains(&is[1]) && !was.contains(&numbers(&before, "b")[0]));
        assert!(parent(&after, "a").is_away(0) && !parent(&after, "a").is_away(1));
    }

    fn ruled(before: &Arc<OperatorRules>, text: &str) -> (Arc<OperatorRules>, Vec<String>) {
        let config = Config::parse(text, Path::new("o.toml"), &Flags::default());
        let (plan, warnings) =
            before.plan(&config.unwrap_or_else(|problems| panic!("{problems}")), None).unwrap();
        let texts =
            warnings.into_iter().map(|((table, nth, key), what)| format!("{table} {nth} {key}: {what}"));
        (Arc::clone(before).follow(plan), texts.collect())
    }

    const RULED: &str = "[[list]]\nname = \"l\"\ncidrs = \"192.0.2.0/24\"\n[[list]]\nname = \"n\"\ndomains = \"a.example\"\n\
                         [[rule]]\nname = \"lan\"\nto = \"8.0.0.0/8\"\naction = \"deny\"\n\
                         [[rule]]\nname = \"names\"\nto = [\"a.example\", \"@n\"]\naction = \"deny\"\n\
                         [[rule]]\nname = \"up\"\nnot_to = \"@l\"\naction = \"allow\"\nparent = \"up\"\n\
                         [[rule]]\nname = \"behind\"\nto = \"9.0.0.0/8\"\naction = \"allow\"\n";

    #[test]
    fn conditions_on_addresses_that_do_not_see_names_are_named() {
        let with = |servers: &str| format!("[[parent]]\nname = \"up\"\nservers = \"{servers}\"\n{RULED}");
        let (rules, warned) = ruled(&Arc::default(), &with("http://a:1"));
        let unseen = "is not met by names that parent \"up\" resolves, whatever they lead to: addresses are not seen here";
        let expected = [format!("rule 0 to: {unseen}"), format!("rule 2 not_to: {unseen}")];
        assert_eq!(warned, expected);
        // It is so for as long as it is not otherwise, and not said of parents that are given addresses.
        let (rules, warned) = ruled(&rules, &with("http://a:1"));
        assert_eq!(warned, expected);
        assert!(ruled(&rules, &with("socks5://a")).1.is_empty());
        let unused = ruled(&rules, "[[parent]]\nname = \"up\"\nservers = \"http://a:1\"\n").1;
        assert_eq!(unused, ["parent 0 name: leads nothing: no rule has parent = \"up\""]);
    }

    #[test]
    fn headers_that_lack_addresses_are_named() {
        let with = |servers: &str| {
            format!(
                "[[proxy_out]]\nto = [\"192.0.2.1\", \"a.example\"]\n[[proxy_out]]\nto = \".example\"\n\
                 [[rule]]\nname = \"up\"\naction = \"allow\"\nparent = \"up\"\n\
                 [[parent]]\nname = \"up\"\nservers = \"{servers}\"\n"
            )
        };
        let unseen = "is not met by addresses of names that parent \"up\" resolves: they are not seen here";
        let untold = "where parent \"up\" resolves the name the header has no addresses: the target's is not known here";
        let expected = [
            format!("proxy_out 0 to: {unseen}"),
            format!("proxy_out 0 to: {untold}"),
            format!("proxy_out 1 to: {untold}"),
        ];
        assert_eq!(ruled(&Arc::default(), &with("socks5h://a")).1, expected);
        assert_eq!(ruled(&Arc::default(), &with("socks5://a")).1, [""; 0]);
    }

    /// Rules that stay go with the parents that a reload gives: neither is taken without the other.
    #[test]
    fn rules_have_the_numbers_of_their_parents() {
        let text = |port: u16| {
            format!(
                "[[parent]]\nname = \"other\"\nservers = \"http://b:1\"\n[[parent]]\nname = \"up\"\nservers = \"http://a:{port}\"\n{RULED}"
            )
        };
        let first = ruled(&Arc::default(), &text(1)).0;
        let second = ruled(&first, &text(2)).0;
        let target = Target { host: Host::parse(b"b.example").unwrap(), port: 80 };
        let Host::Name(name) = &target.host else { panic!("a name") };
        for rules in [&first, &second] {
            let question = Question {
                user: None,
                source: IpAddr::from([192, 0, 2, 1]),
                listener: 0,
                command: RequestCommand::Connect,
                target: Asked::Told(name, 80),
            };
            let ruling = rules.set.as_ref().unwrap().judge(&question);
            let parents = rules.ways.parents.all().unwrap();
            let led = parents.parent(ruling.way.parent.unwrap()).unwrap();
            assert_eq!(&*led.spec().name, "up");
        }
        let port =
            |rules: &OperatorRules| parent(&rules.ways.parents, "up").spec().servers[0].hops[0].target.port;
        assert_eq!((port(&first), port(&second)), (1, 2));
    }
}

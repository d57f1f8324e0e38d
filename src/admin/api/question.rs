//! Which sessions a request is about, in which order and how many of them.

use std::cmp::Ordering;

use super::query::{Query, sorted_by, span, whole, word};
use super::rates::Speed;
use crate::config::{Choice, Protocol, block, quoted};
use crate::observe::filter::{SessionFilter, TargetPattern};
use crate::observe::live::{LiveSession, LiveState, RECORDED, command_name};
use crate::proto::address::{Host, Target};

/// The parameters by which workers choose sessions.
const CHOICE: [&str; 14] = [
    "user",
    "source",
    "target",
    "command",
    "protocol",
    "listener",
    "rule",
    "egress",
    "state",
    "min_age",
    "max_age",
    "min_bytes",
    "max_bytes",
    "worker",
];

/// What a list of sessions takes beside them.
const LIST: [&str; 4] = ["min_rate", "sort", "limit", "offset"];

/// Which sessions are meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    /// What each of them has to be.
    pub(super) filter: SessionFilter,
    /// The worker that serves them, where it is one alone.
    pub(super) worker: Option<usize>,
}

/// A question for a list of sessions.
#[derive(Clone, Debug)]
pub(super) struct SessionQuestion {
    /// Of which sessions.
    pub(super) chosen: Chosen,
    /// Bytes a second that each of them moves at least, both ways together.
    pub(super) min_rate: Option<f64>,
    /// In which order.
    pub(super) order: SortOrder,
    /// How many at most.
    pub(super) limit: usize,
    /// How many of the first are left out.
    pub(super) offset: usize,
}

impl SessionQuestion {
    /// Reads the parameters of a list.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn read(text: &str) -> Result<SessionQuestion, String> {
        let query = Query::read(text, &[&CHOICE[..], &LIST].concat())?;
        let (limit, offset) = query.page()?;
        let min_rate = query.value("min_rate", whole(0..=u64::MAX))?;
        Ok(SessionQuestion {
            chosen: chosen(&query)?,
            min_rate: min_rate.map(|rate| rate as f64),
            order: query.value("sort", SortOrder::read)?.unwrap_or(SortOrder::OLDEST),
            limit,
            offset,
        })
    }

    /// Whether the answer depends on how fast each session is, and not only on those that are shown.
    pub(super) fn needs_rates(&self) -> bool {
        self.min_rate.is_some() || self.order.key == SortKey::Rate
    }
}

impl Chosen {
    /// Reads the parameters that say which sessions are to end. One without a value is refused here: a script whose variable
    /// is empty would end the sessions of everybody.
    ///
    /// # Errors
    /// There is none, or what is wrong with one of them.
    pub(super) fn read(text: &str) -> Result<Chosen, String> {
        let query = Query::read(text, &CHOICE)?;
        if let Some(empty) = query.first_empty() {
            return Err(format!("`{empty}` has no value: which sessions are to end is said in full"));
        }
        match query.is_empty() {
            true => Err(format!("which sessions is to be said: by one at least of {}", CHOICE.join(", "))),
            false => chosen(&query),
        }
    }
}

fn chosen(query: &Query<'_>) -> Result<Chosen, String> {
    let commands = RECORDED.map(|command| (command_name(command), command));
    let states = LiveState::ALL.map(|state| (state.name(), state));
    let ms = |age: Option<std::time::Duration>| age.map(|age| age.as_millis() as u64);
    let filter = SessionFilter {
        user: query.text("user").map(str::to_owned),
        source: query.value("source", source)?,
        target: query.value("target", target)?,
        command: query.value("command", word(&commands))?,
        protocol: query.value("protocol", word(Protocol::ALL))?,
        listener: query.text("listener").map(str::to_owned),
        rule: query.text("rule").map(str::to_owned),
        egress: query.text("egress").map(str::to_owned),
        state: query.value("state", word(&states))?,
        min_age_ms: ms(query.value("min_age", span)?),
        max_age_ms: ms(query.value("max_age", span)?),
        min_bytes: query.value("min_bytes", whole(0..=u64::MAX))?,
        max_bytes: query.value("max_bytes", whole(0..=u64::MAX))?,
    };
    let worker = query.value("worker", whole(0..=u64::from(u16::MAX)))?;
    Ok(Chosen { filter, worker: worker.map(|number| number as usize) })
}

/// A client's address, or a block of them.
fn source(typed: &str) -> Result<ipnet::IpNet, String> {
    match typed.parse::<std::net::IpAddr>() {
        Ok(address) => Ok(address.to_canonical().into()),
        Err(_) => block(typed),
    }
}

fn target(typed: &str) -> Result<TargetPattern, String> {
    typed.parse().map_err(|_| {
        format!(
            "{} is no target: a host, \"*.example.com\", an address or a block of them, each with or without a port \
             as in \"example.com:443\"",
            quoted(typed)
        )
    })
}

/// What sessions are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortKey {
    Age,
    Bytes,
    BytesUp,
    BytesDown,
    Rate,
    User,
    Client,
    Target,
    State,
}

const SORT_KEYS: [(&str, SortKey); 9] = [
    ("age", SortKey::Age),
    ("bytes", SortKey::Bytes),
    ("bytes_up", SortKey::BytesUp),
    ("bytes_down", SortKey::BytesDown),
    ("rate", SortKey::Rate),
    ("user", SortKey::User),
    ("client", SortKey::Client),
    ("target", SortKey::Target),
    ("state", SortKey::State),
];

/// In which order sessions come. What is not known comes last in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SortOrder {
    key: SortKey,
    descending: bool,
}

impl SortOrder {
    const OLDEST: SortOrder = SortOrder { key: SortKey::Age, descending: true };

    fn read(typed: &str) -> Result<SortOrder, String> {
        sorted_by(&SORT_KEYS)(typed).map(|(key, descending)| SortOrder { key, descending })
    }

    /// Which of two sessions comes first; two are never equal.
    pub(super) fn compare(self, one: &Seen, other: &Seen) -> Ordering {
        let (a, b) = (&one.session, &other.session);
        let bytes = |session: &LiveSession| session.bytes_up + session.bytes_down;
        let both = |seen: &Seen| seen.speed.map(Speed::both);
        let order = match self.key {
            SortKey::Age => self.directed(b.began.cmp(&a.began)),
            SortKey::Bytes => self.directed(bytes(a).cmp(&bytes(b))),
            SortKey::BytesUp => self.directed(a.bytes_up.cmp(&b.bytes_up)),
            SortKey::BytesDown => self.directed(a.bytes_down.cmp(&b.bytes_down)),
            SortKey::Rate => self.known(both(one), both(other), |a, b| a.total_cmp(b)),
            SortKey::User => self.known(a.user.as_deref(), b.user.as_deref(), |a, b| a.cmp(b)),
            SortKey::Client => self.directed(a.client.cmp(&b.client)),
            SortKey::Target => self.known(a.target.as_ref(), b.target.as_ref(), |a, b| by_target(a, b)),
            SortKey::State => self.directed(a.state.cmp(&b.state)),
        };
        order.then_with(|| a.id.cmp(&b.id))
    }

    fn directed(self, order: Ordering) -> Ordering {
        if self.descending { order.reverse() } else { order }
    }

    fn known<T>(self, a: Option<T>, b: Option<T>, compare: impl FnOnce(&T, &T) -> Ordering) -> Ordering {
        match (&a, &b) {
            (Some(a), Some(b)) => self.directed(compare(a, b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

/// Addresses by their number and before names, those by their letters.
fn by_target(a: &Target, b: &Target) -> Ordering {
    let hosts = match (&a.host, &b.host) {
        (Host::Ip(a), Host::Ip(b)) => a.cmp(b),
        (Host::Name(a), Host::Name(b)) => a.cmp(b),
        (Host::Ip(_), Host::Name(_)) => Ordering::Less,
        (Host::Name(_), Host::Ip(_)) => Ordering::Greater,
    };
    hosts.then(a.port.cmp(&b.port))
}

/// A session and how fast it is, if that is known.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) session: LiveSession,
    pub(super) speed: Option<Speed>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::api::shown::tests::session;
    use crate::proto::request::RequestCommand;

    fn question(text: &str) -> SessionQuestion {
        SessionQuestion::read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        SessionQuestion::read(text).expect_err(text)
    }

    #[test]
    fn each_parameter_is_taken() {
        let all = "user=ann&source=10.0.0.0%2F8&target=*.example.com%3A443&command=bind&rule=office&egress=fleet&state=lingering&min_age=90\
                   &max_age=5m&min_bytes=1&max_bytes=2&worker=3&min_rate=4&sort=-bytes_up&limit=5&offset=6";
        let SessionQuestion { chosen: Chosen { filter, worker }, min_rate, order, limit, offset } =
            question(all);
        assert_eq!(filter.user.as_deref(), Some("ann"));
        assert_eq!(filter.source.map(|block| block.to_string()).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(filter.target, "*.example.com:443".parse().ok());
        assert_eq!((filter.command, filter.state), (Some(RequestCommand::Bind), Some(LiveState::Lingering)));
        assert_eq!((filter.rule.as_deref(), filter.egress.as_deref()), (Some("office"), Some("fleet")));
        assert_eq!((filter.min_age_ms, filter.max_age_ms), (Some(90_000), Some(300_000)));
        assert_eq!((filter.min_bytes, filter.max_bytes), (Some(1), Some(2)));
        assert_eq!((worker, min_rate, limit, offset), (Some(3), Some(4.0), 5, 6));
        assert_eq!(order, SortOrder { key: SortKey::BytesUp, descending: true });
        let usual = question("");
        assert_eq!((usual.order, usual.limit, usual.offset), (SortOrder::OLDEST, 100, 0));
        assert!(
            !usual.needs_rates()
                && question("sort=rate").needs_rates()
                && question("min_rate=0").needs_rates()
        );
        assert_eq!(question("source=::ffff:10.0.0.1").chosen.filter.source, "10.0.0.1/32".parse().ok());
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_meant() {
        for (text, words) in [
            ("sort=byte", "did you mean \"bytes\"?"),
            ("sort=-usr", "did you mean \"user\"?"),
            ("state=Relaying", "did you mean \"relaying\"?"),
            ("source=10.0.0.1/8", "did you mean \"10.0.0.0/8\"?"),
            ("target=a b", "\"*.example.com\""),
            ("limit=50001", "0 to 50000"),
            ("minbytes=1", "did you mean `min_bytes`?"),
        ] {
            assert!(refused(text).contains(words), "{text}: {}", refused(text));
        }
        assert!(Chosen::read("").unwrap_err().contains("one at least of user"));
        assert!(Chosen::read("limit=1").is_err() && Chosen::read("min_rate=1").is_err());
        assert_eq!(Chosen::read("worker=2").unwrap().worker, Some(2));
        for empty in ["user=&min_age=5m", "min_age=5m&user=", "user", "min_age=5m&source=&user=ann"] {
            assert!(Chosen::read(empty).unwrap_err().contains("has no value"), "{empty}");
        }
    }

    /// A session's serial, and what it has of its own.
    type Made<'a> = (u64, &'a dyn Fn(&mut Seen));

    /// The serials of sessions in this order.
    fn sorted(sort: &str, seen: &[Made<'_>]) -> Vec<u64> {
        let order = question(&format!("sort={sort}")).order;
        let made = |(serial, change): &Made<'_>| {
            let mut seen = Seen { session: session(*serial), speed: None };
            change(&mut seen);
            seen
        };
        let mut seen: Vec<Seen> = seen.iter().map(made).collect();
        seen.sort_by(|a, b| order.compare(a, b));
        seen.iter().map(|seen| seen.session.id.serial).collect()
    }

    #[test]
    fn what_is_unknown_comes_last_and_what_is_equal_by_its_id() {
        let speed = |up| move |seen: &mut Seen| seen.speed = Some(Speed { up, down: 0.0 });
        let rates: &[Made<'_>] = &[(1, &|_| {}), (2, &speed(5.0)), (3, &speed(7.0)), (4, &speed(5.0))];
        assert_eq!((sorted("rate", rates), sorted("-rate", rates)), (vec![2, 4, 3, 1], vec![3, 2, 4, 1]));
        let user = |name: &'static str| move |seen: &mut Seen| seen.session.user = Some(name.into());
        let users: &[Made<'_>] =
            &[(1, &user("bob")), (2, &|seen| seen.session.user = None), (3, &user("ann"))];
        assert_eq!((sorted("user", users), sorted("-user", users)), (vec![3, 1, 2], vec![1, 3, 2]));
    }

    #[test]
    fn addresses_are_sorted_by_their_number_and_targets_by_host_and_port() {
        let client = |text: &'static str| move |seen: &mut Seen| seen.session.client = text.parse().unwrap();
        let clients: &[Made<'_>] =
            &[(1, &client("127.0.0.10:9")), (2, &client("127.0.0.9:10")), (3, &client("127.0.0.9:9"))];
        assert_eq!(sorted("client", clients), [3, 2, 1]);
        let target = |host: &'static str, port| {
            move |seen: &mut Seen| {
                seen.session.target = Some(Target { host: Host::parse(host.as_bytes()).unwrap(), port });
            }
        };
        let targets: &[Made<'_>] = &[
            (1, &target("b.example", 80)),
            (2, &target("a.example", 443)),
            (3, &target("a.example", 80)),
            (4, &target("192.0.2.1", 1)),
        ];
        assert_eq!(
            (sorted("target", targets), sorted("-target", targets)),
            (vec![4, 3, 2, 1], vec![1, 2, 3, 4])
        );
        let aged: &[Made<'_>] = &[
            (1, &|seen| seen.session.began += Duration::from_millis(5)),
            (2, &|seen| seen.session.state = LiveState::Handshake),
        ];
        assert_eq!((sorted("-age", aged), sorted("state", aged)), (vec![2, 1], vec![2, 1]));
    }
}

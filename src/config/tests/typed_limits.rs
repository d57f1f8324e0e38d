//! Limits as they are typed.

use super::bad_files::expect_complaints;
use crate::config::{Config, LimitConfig};
use crate::policy::accounts::{BurstRate, Per};

/// Every key of the limits, each with a value.
pub(super) fn put_every_key(config: &mut Config) {
    let rate = Some(BurstRate { rate: 1, burst: 1 });
    (config.per_source.new_per_second, config.per_source.bandwidth) = (rate, rate);
    (config.per_user.new_per_second, config.per_user.bandwidth) = (rate, rate);
    let rates = LimitConfig { new_per_second: rate, upload: rate, download: rate, ..LimitConfig::default() };
    config.limits = vec![LimitConfig { datagrams: rate, ..rates }];
    config.rules[0].limits = vec!["plan".into()];
}

/// Values that are unlike the defaults.
pub(super) fn put_odd(config: &mut Config) {
    let rate = |rate, burst| Some(BurstRate { rate, burst });
    config.per_source.bandwidth = rate(1, 1_000_000_000_000);
    config.per_user.new_per_second = rate(5, 1);
    config.limits = vec![LimitConfig {
        name: "plan".into(),
        per: Per::Network,
        connections: 3,
        udp_associations: 2,
        new_per_second: rate(5, 9),
        upload: rate(1, 1),
        download: None,
        datagrams: rate(7, 8),
    }];
}

#[test]
fn problems_of_limits_name_key_and_nearest_word() {
    expect_complaints(&[
        (
            "[limits.per_user]\nnew_per_second = { rate = 0, brust = 3 }\nbandwidth = \"10 Mb\"\n",
            &[
                "2: [limits.per_user] key `new_per_second.brust`: unknown key; did you mean `burst`?",
                "2: [limits.per_user] key `new_per_second.rate`: 0 is out of range: 1 to 1000000000",
                "3: [limits.per_user] key `bandwidth`: \"10 Mb\" is no number of bytes: write it such as \"500kB\", \"10MB\" \
                 or \"1GiB\"",
            ],
        ),
        (
            "[limits.per_user]\nnew_per_second = { burst = 3 }\nbandwidth = [1]\n",
            &[
                "2: [limits.per_user] key `new_per_second`: needs a rate, such as { rate = 10, burst = 50 }",
                "3: [limits.per_user] key `bandwidth`: expected a rate such as { rate = \"10MB\", burst = \"20MB\" }, found \
                 an array",
            ],
        ),
        (
            "[[limit]]\nper = \"usr\"\nupload = 1\n[[limit]]\nname = \"a\"\n[[limit]]\nname = \"a\"\nper = \"user\"\ndatagrams = 1\n",
            &[
                "1: [[limit]] 1: needs a `name`: rules call it by that",
                "2: [[limit]] 1 key `per`: \"usr\" is none of \"user\", \"group\", \"source\", \"source/24\", \"source/64\", \"session\", \
                 \"rule\", \"listener\", \"global\"; did you mean \"user\"?",
                "4: [[limit]] 2: needs a `per`: whose sessions count together, such as \"user\"",
                "7: [[limit]] 3 key `name`: \"a\" is the name of [[limit]] 2, too",
            ],
        ),
        (
            "[[limit]]\nname = \"plan\"\nper = \"user\"\ndownload = 1\n\
             [[rule]]\nname = \"r\"\naction = \"allow\"\nlimits = [\"plam\"]\n\
             [[rule]]\nname = \"s\"\naction = \"deny\"\nlimits = [\"plan\"]\n",
            &[
                "8: [[rule]] 1 key `limits`: there is no [[limit]] \"plam\"; did you mean \"plan\"?",
                "12: [[rule]] 2 key `limits`: limit what a rule allows, and this one allows nothing: leave them out",
            ],
        ),
        (
            "[[limit]]\nname = \"a\"\nper = \"user\"\n",
            &[
                "1: [[limit]] 1: limits nothing: it needs one of `connections`, `udp_associations`, `new_per_second`, `upload`, \
               `download`, `datagrams`",
            ],
        ),
    ]);
}

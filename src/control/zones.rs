//! Time zones by their names: whose clock the times of rules and the periods of quotas are on.

use jiff::tz::{self, TimeZone};

use crate::config::{Zone, nearest, quoted};

/// The zone of this name.
///
/// # Errors
/// There is none, with the one that was probably meant; or this machine's is not known.
pub(super) fn time_zone(zone: &Zone) -> Result<TimeZone, String> {
    match zone {
        Zone::Local => TimeZone::try_system().map_err(|error| {
            format!("this machine's zone is not known: {error}; say zone = \"UTC\" or another")
        }),
        Zone::Named(name) => TimeZone::get(name).map_err(|_| {
            let what = format!("there is no time zone {}", quoted(name));
            match nearest_zone(name) {
                Some(meant) => format!("{what}; did you mean \"{meant}\"?"),
                None => format!("{what}; zones are such as \"Europe/Berlin\", \"UTC\" and \"local\""),
            }
        }),
    }
}

/// The zone that was probably meant.
fn nearest_zone(typed: &str) -> Option<String> {
    let names: Vec<String> = tz::db().available().map(|name| name.as_str().to_owned()).collect();
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let meant = nearest(typed, lower.iter().map(String::as_str))?;
    lower.iter().position(|name| name == meant).map(|nth| names[nth].clone())
}

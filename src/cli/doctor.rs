//! `outflow doctor`: what of this machine keeps a configuration from working, and the lines that mend it.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::text::visible;
use super::units::grouped;
use crate::config::Config;
use crate::console::say;
use crate::control::{Diagnosis, PoolCapacity, Severity, diagnose};
use crate::proto::address::{Host, Target};

/// How to look at the machine.
#[derive(Clone, Debug, Args)]
pub(super) struct DoctorArgs {
    /// Connect to this target from the addresses of every pool and through every parent, too (may be repeated); without it no
    /// packet is sent
    #[arg(long, value_name = "HOST:PORT", value_parser = probed)]
    probe: Vec<Target>,
    /// Let warnings count as errors do in the exit code
    #[arg(long)]
    strict: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at the machine. Exit code 0 where all that is configured works, 1 where something does not.
pub(super) fn run(config: &Config, args: &DoctorArgs) -> ExitCode {
    let diagnosis = diagnose(config, &args.probe);
    let text = if args.json { format!("{}\n", diagnosis.to_json()) } else { words(&diagnosis) };
    // What nobody reads is still told by the exit code.
    let _ = say(&text);
    let warned = args.strict && diagnosis.count(Severity::Warning) > 0;
    match warned || diagnosis.count(Severity::Error) > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// A target by its name or its address.
fn probed(typed: &str) -> Result<Target, String> {
    let (host, port) = typed.rsplit_once(':').ok_or("expected HOST:PORT")?;
    let port = port.parse().ok().filter(|port: &u16| *port > 0).ok_or("expected a port of 1 to 65535")?;
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address stands in brackets".to_owned());
    }
    let host = Host::parse(host.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Target { host, port })
}

/// Each finding with what mends it below, then what the pools can hold.
fn words(diagnosis: &Diagnosis) -> String {
    let mut words = String::new();
    // Writing to a string cannot fail.
    for finding in &diagnosis.findings {
        let (severity, subject) = (finding.severity.name(), visible(&finding.subject));
        let _ = writeln!(words, "{severity:<8}{subject}: {}", visible(&finding.what));
        for line in &finding.mend {
            let _ = writeln!(words, "            {}", visible(line));
        }
    }
    for pool in &diagnosis.pools {
        let _ = writeln!(words, "egress {}: {}", visible(&pool.name), capacity(pool));
    }
    let count = |severity: Severity| match diagnosis.count(severity) {
        1 => format!("1 {}", severity.name()),
        more => format!("{more} {}s", severity.name()),
    };
    let all = [Severity::Error, Severity::Warning, Severity::Hint].map(count).join(", ");
    let _ = writeln!(words, "{all}");
    words
}

fn capacity(pool: &PoolCapacity) -> String {
    format!(
        "{} with {} ports each: {} connections to one target at a time, {} new ones a second where our side closes first",
        match pool.addresses {
            1 => "1 address".to_owned(),
            more => format!("{} addresses", number(more)),
        },
        grouped(pool.ports.into()),
        number(pool.at_once),
        number(pool.each_second)
    )
}

/// What is more than anyone counts is said as a power of two.
fn number(count: u128) -> String {
    match u64::try_from(count) {
        Ok(count) if count < 1 << 32 => grouped(count),
        _ => format!("2^{}", count.ilog2()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Finding;

    fn diagnosis() -> Diagnosis {
        let findings = vec![
            Finding {
                severity: Severity::Error,
                check: "anyip",
                subject: "egress wide".to_owned(),
                what: "no route delivers 2001:db8::/64 here".to_owned(),
                mend: vec!["ip -6 route add local 2001:db8::/64 dev lo".to_owned()],
            },
            Finding {
                severity: Severity::Hint,
                check: "time_wait",
                subject: "server".to_owned(),
                what: "a\u{1b}[2J".to_owned(),
                mend: Vec::new(),
            },
        ];
        let pool = |name: &str, addresses: u128, ports: u32| PoolCapacity {
            name: name.to_owned(),
            addresses,
            ports,
            at_once: addresses * u128::from(ports),
            each_second: addresses * u128::from(ports) / 60,
        };
        Diagnosis { findings, pools: vec![pool("four", 4, 1_000), pool("wide", 1 << 64, 28_232)] }
    }

    #[test]
    fn what_is_found_is_said_with_what_mends_it() {
        let expected = "error   egress wide: no route delivers 2001:db8::/64 here\n            \
                        ip -6 route add local 2001:db8::/64 dev lo\n\
                        hint    server: a\\u{1b}[2J\n\
                        egress four: 4 addresses with 1,000 ports each: 4,000 connections to one target at a time, 66 new ones \
                        a second where our side closes first\n\
                        egress wide: 2^64 addresses with 28,232 ports each: 2^78 connections to one target at a time, 2^72 new \
                        ones a second where our side closes first\n\
                        1 error, 0 warnings, 1 hint\n";
        assert_eq!(words(&diagnosis()), expected);
    }

    #[test]
    fn targets_are_names_and_addresses_with_a_port() {
        for typed in ["example.com:443", "192.0.2.1:9", "[2001:db8::1]:80"] {
            assert_eq!(probed(typed).map(|target| target.to_string()), Ok(typed.to_owned()));
        }
        for wrong in ["example.com", "example.com:0", "example.com:x", "2001:db8::1:80", "a b:1", ":1"] {
            assert!(probed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_machine_without_a_fault_is_said_to_be_so() {
        assert_eq!(words(&Diagnosis::default()), "0 errors, 0 warnings, 0 hints\n");
    }
}

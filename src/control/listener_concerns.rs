//! What is odd about listeners that could be obeyed: what they are to take and nobody can ask of them.

use crate::config::{AuthMethod, Choice, Config, ListenerConfig, Protocol, quoted};
use crate::proto::request::RequestCommand;

/// A table of the configuration, its place among those of its name, and a key in it.
type ListenerPlace = (&'static str, usize, &'static str);

/// What is said of protocols that no client can log in by, and of commands that none can ask for.
pub(super) fn listener_concerns(config: &Config) -> Vec<(ListenerPlace, String)> {
    let mut found = Vec::new();
    for (nth, table) in config.listeners.iter().enumerate() {
        let shut = table.protocols.iter().filter_map(|protocol| shut_out(config, table, *protocol));
        found.extend(shut.map(|what| (("listener", nth, "protocols"), what)));
        // Tor's two commands are one word.
        let commands = table.commands.iter().filter(|command| **command != RequestCommand::ResolvePtr);
        let unheard = commands.filter_map(|command| unheard_of(config, table, *command));
        found.extend(unheard.map(|what| (("listener", nth, "commands"), what)));
    }
    found
}

/// What is said of keys about a protocol that no listener speaks.
pub(super) fn unspoken(config: &Config) -> Vec<((&'static str, &'static str), &'static str)> {
    let speaks = |protocol| config.listeners.iter().any(|table| table.protocols.contains(&protocol));
    let mut found = Vec::new();
    if config.http.pac && !speaks(Protocol::Http) {
        let what = "no listener gives the file: none has \"http\" among the protocols of a [[listener]]";
        found.push((("http", "pac"), what));
    }
    if config.auth.socks4_ident && !speaks(Protocol::Socks4) {
        let what = "no listener speaks SOCKS4: none has \"socks4\" among the protocols of a [[listener]]";
        found.push((("auth", "socks4_ident"), what));
    }
    found
}

/// Why everybody is refused who speaks this.
fn shut_out(config: &Config, table: &ListenerConfig, protocol: Protocol) -> Option<String> {
    let methods = config.methods_of(Some(table));
    if table.tls.as_ref().is_some_and(|tls| tls.users_from.is_some()) {
        // Their certificates say who they are.
        return None;
    }
    match protocol {
        Protocol::Socks4 if !methods.contains(&AuthMethod::None) && !config.auth.socks4_ident => Some(
            "\"socks4\" has no password, and \"none\" is no method here: all its clients are refused; leave it out, add \
             \"none\" to methods, or set socks4_ident = true in [auth]"
                .to_owned(),
        ),
        Protocol::Http if methods == [AuthMethod::Gssapi] => Some(
            "\"http\" has no tickets, and \"gssapi\" is the only method here: all its clients are refused; leave it out, \
             or add a method"
                .to_owned(),
        ),
        Protocol::Socks5 | Protocol::Socks4 | Protocol::Http => None,
    }
}

/// Why nobody can ask for this.
fn unheard_of(config: &Config, table: &ListenerConfig, command: RequestCommand) -> Option<String> {
    let spoken_in: &[Protocol] = match command {
        RequestCommand::Connect => return None,
        RequestCommand::Resolve | RequestCommand::ResolvePtr if !config.tor.resolve => {
            return Some(
                "\"resolve\" is refused all the same: resolve = true in [tor] permits it".to_owned(),
            );
        }
        RequestCommand::Bind | RequestCommand::Resolve | RequestCommand::ResolvePtr => {
            &[Protocol::Socks5, Protocol::Socks4]
        }
        RequestCommand::UdpAssociate => &[Protocol::Socks5],
    };
    let has_it = |protocol: &Protocol| spoken_in.contains(protocol);
    let spoken: Vec<String> = table.protocols.iter().map(|protocol| quoted(protocol.name())).collect();
    (!table.protocols.iter().any(has_it)).then(|| {
        let command = quoted(command.name());
        format!("nobody can ask for {command}: no protocol here has it, of {}", spoken.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    fn said(text: &str) -> Vec<String> {
        let config = Config::parse(text, Path::new("outflow.toml"), &Flags::default());
        let config = config.unwrap_or_else(|what| panic!("{text}: {what}"));
        let of_listeners = listener_concerns(&config).into_iter();
        let texts = of_listeners.map(|((_, nth, key), what)| format!("{nth} {key}: {what}"));
        texts.chain(unspoken(&config).into_iter().map(|((_, key), what)| format!("{key}: {what}"))).collect()
    }

    const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    const PASSWORD: &str = "[auth]\nmethods = [\"password\"]\nusers = \"u\"\n";

    /// Whoever adds "socks4" to a list of protocols and asks for passwords had served nobody by it, and heard of it from them.
    #[test]
    fn a_protocol_by_which_nobody_can_log_in_is_named() {
        let all = "protocols = [\"socks5\", \"socks4\", \"http\"]\n";
        let socks4 = said(&format!("{PASSWORD}{LISTENER}{all}"));
        assert_eq!(socks4.len(), 1, "{socks4:?}");
        assert!(socks4[0].starts_with("0 protocols: \"socks4\" has no password"), "{socks4:?}");
        assert_eq!(said(&format!("{PASSWORD}socks4_ident = true\n{LISTENER}{all}")), [""; 0]);
        assert_eq!(said(&format!("{PASSWORD}{LISTENER}{all}methods = [\"password\", \"none\"]\n")), [""; 0]);
        assert_eq!(said(&format!("{LISTENER}{all}")), [""; 0]);
        let known = "tls = { cert = \"c\", key = \"k\", client_ca = \"a\", users_from = \"cn\" }\n";
        assert_eq!(said(&format!("{PASSWORD}{LISTENER}{all}{known}")), [""; 0]);
        let gssapi = said(&format!("{LISTENER}protocols = [\"http\"]\nmethods = [\"gssapi\"]\n"));
        assert_eq!(gssapi.len(), 1, "{gssapi:?}");
        assert!(gssapi[0].starts_with("0 protocols: \"http\" has no tickets"), "{gssapi:?}");
    }

    #[test]
    fn a_command_that_no_client_can_ask_for_is_named() {
        let of = |protocols: &str, commands: &str| {
            said(&format!("{LISTENER}protocols = [{protocols}]\ncommands = [{commands}]\n"))
        };
        let http =
            ["0 commands: nobody can ask for \"bind\": no protocol here has it, of \"http\"".to_owned()];
        assert_eq!(of("\"http\"", "\"connect\", \"bind\""), http);
        assert_eq!(of("\"socks4\", \"http\"", "\"bind\""), [""; 0]);
        assert_eq!(of("\"socks5\", \"http\"", "\"bind\", \"udp_associate\""), [""; 0]);
        let datagrams = of("\"socks4\", \"http\"", "\"udp_associate\"");
        let what = "0 commands: nobody can ask for \"udp_associate\": no protocol here has it, of \"socks4\", \"http\"";
        assert_eq!(datagrams, [what]);
        let off = ["0 commands: \"resolve\" is refused all the same: resolve = true in [tor] permits it"];
        assert_eq!(of("\"socks5\"", "\"resolve\""), off);
        let on = format!("[tor]\nresolve = true\n{LISTENER}commands = [\"resolve\"]\n");
        assert_eq!(said(&on), [""; 0]);
    }

    #[test]
    fn keys_about_a_protocol_that_no_listener_speaks_are_named() {
        let pac = "[http]\npac = true\n";
        let nobody =
            ["pac: no listener gives the file: none has \"http\" among the protocols of a [[listener]]"];
        assert_eq!(said(&format!("{pac}{LISTENER}")), nobody);
        assert_eq!(said(pac), nobody);
        assert_eq!(said(&format!("{pac}{LISTENER}protocols = [\"http\"]\n")), [""; 0]);
        let ident = said("[auth]\nsocks4_ident = true\nusers = \"u\"\n");
        let nobody = [
            "socks4_ident: no listener speaks SOCKS4: none has \"socks4\" among the protocols of a [[listener]]",
        ];
        assert_eq!(ident, nobody);
    }
}

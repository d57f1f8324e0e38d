//! The admin endpoint's API as tests ask it: one request a connection.

use std::net::SocketAddr;

use serde_json::Value;

use super::Relay;
use super::http::{Http, HttpReply};
use super::relay::Builder;
use super::wait::{self, PATIENCE};

/// Where the endpoint of a server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api(SocketAddr);

impl Api {
    /// Starts a server with an endpoint on a port of the kernel's choice.
    pub(crate) fn serve(builder: Builder) -> (Relay, Api) {
        let relay = builder.admin().start();
        let api = Api(relay.admin_addr());
        (relay, api)
    }

    /// Asks by this method, with this body where there is one.
    pub(crate) fn ask(self, method: &str, target: &str, body: Option<&str>) -> HttpReply {
        let ask = || Http::connect(self.0).ask_with(method, target, "Connection: close\r\n", body);
        // A test that polls asks more often than anybody may.
        let answer = || Some(ask()).filter(|answer| answer.status != 429);
        wait::until("an answer that is not too much asked", PATIENCE, answer)
    }

    /// What GET gives, which must be there.
    pub(crate) fn get(self, target: &str) -> Value {
        let answer = self.ask("GET", target, None);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        answer.json()
    }

    /// The sessions of a list.
    pub(crate) fn sessions(self, query: &str) -> Vec<Value> {
        let mut list = self.get(&format!("/api/v1/sessions{query}"));
        assert!(list.get("warning").is_none(), "{list}");
        serde_json::from_value(list["sessions"].take()).expect("a list")
    }
}

impl HttpReply {
    /// What an error says, with its status.
    pub(crate) fn error(&self) -> (u16, String) {
        let what = self.json()["error"].as_str().map(str::to_owned);
        (self.status, what.unwrap_or_else(|| panic!("no error: {self:?}")))
    }
}

//! The dashboard: one page that carries its scripts and styles, and the policy that permits these and nothing else.
//!
//! It is put together once, out of parts that are compiled in. What it shows it asks for under /api/v1/; nothing that a
//! client chose is ever in the page itself.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("dashboard/page.html");

/// The parts that the page names, in the order in which it does.
const PARTS: [Part; 11] = [
    Part::style("vendor/uplot.css", include_str!("dashboard/vendor/uplot.css")),
    Part::style("page.css", include_str!("dashboard/page.css")),
    Part::script("vendor/uplot.js", include_str!("dashboard/vendor/uplot.js")),
    Part::script("format.js", include_str!("dashboard/format.js")),
    Part::script("dom.js", include_str!("dashboard/dom.js")),
    Part::script("api.js", include_str!("dashboard/api.js")),
    Part::script("charts.js", include_str!("dashboard/charts.js")),
    Part::script("tables.js", include_str!("dashboard/tables.js")),
    Part::script("busiest.js", include_str!("dashboard/busiest.js")),
    Part::script("sessions.js", include_str!("dashboard/sessions.js")),
    Part::script("page.js", include_str!("dashboard/page.js")),
];

/// The page as it is sent.
#[derive(Debug)]
pub struct Dashboard {
    /// All of it.
    pub html: String,
    /// The value of its `Content-Security-Policy`: its own scripts and styles by their hashes, and questions to where it
    /// came from. No text can become a script in it, whatever a name says.
    pub csp: String,
}

impl Dashboard {
    /// The one page there is.
    pub fn page() -> &'static Dashboard {
        static PUT_TOGETHER: OnceLock<Dashboard> = OnceLock::new();
        PUT_TOGETHER.get_or_init(Dashboard::new)
    }

    fn new() -> Dashboard {
        let html =
            PARTS.iter().fold(PAGE.to_owned(), |html, part| html.replace(&part.named(), &part.inlined()));
        let hashes = |tag: &str| {
            let own = PARTS.iter().filter(|part| part.tag == tag);
            own.map(|part| format!(" 'sha256-{}'", hash(part.text))).collect::<String>()
        };
        let csp = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; script-src{}; style-src{}; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
            hashes("script"),
            hashes("style"),
        );
        Dashboard { html, csp }
    }
}

/// A script or a style of the page.
struct Part {
    tag: &'static str,
    name: &'static str,
    text: &'static str,
}

impl Part {
    const fn script(name: &'static str, text: &'static str) -> Part {
        Part { tag: "script", name, text }
    }

    const fn style(name: &'static str, text: &'static str) -> Part {
        Part { tag: "style", name, text }
    }

    /// How the page names it.
    fn named(&self) -> String {
        match self.tag {
            "script" => format!(r#"<script src="{}"></script>"#, self.name),
            _ => format!(r#"<link rel="stylesheet" href="{}">"#, self.name),
        }
    }

    /// How it stands in the page that is sent.
    fn inlined(&self) -> String {
        format!("<{0}>{1}</{0}>", self.tag, self.text)
    }
}

/// SHA-256 in base64, as a policy writes it.
fn hash(text: &str) -> String {
    BASE64.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands between `open` and `close`, each time.
    fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
        text.split(open).skip(1).map(|rest| rest.split(close).next().expect("an end")).collect()
    }

    #[test]
    fn the_policy_permits_what_is_sent_and_nothing_else() {
        let page = Dashboard::page();
        for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
            let sent = between(&page.html, &format!("<{tag}>"), &format!("</{tag}>"));
            let permitted: String = sent.iter().map(|text| format!(" 'sha256-{}'", hash(text))).collect();
            assert_eq!(between(&page.csp, directive, ";"), [permitted]);
            assert_eq!(sent.len(), PARTS.iter().filter(|part| part.tag == tag).count());
        }
        assert!(!page.csp.contains("unsafe-") && page.csp.starts_with("default-src 'none';"));
    }

    #[test]
    fn the_page_names_nothing_that_is_elsewhere() {
        let page = &Dashboard::page().html;
        assert!(!page.contains("<script ") && !page.contains(r#"rel="stylesheet""#));
        let (head, rest) = page.split_once("<style>").expect("styles");
        let body =
            rest.rsplit_once("</style>").expect("their end").1.split_once("<script>").expect("scripts").0;
        for attribute in [" src=", " href=\"http", " style=", " onclick=", " onload=", "@import"] {
            assert!(!head.contains(attribute) && !body.contains(attribute), "{attribute}");
        }
        for part in PARTS.iter().filter(|part| part.tag == "style") {
            assert!(!part.text.contains("url(") && !part.text.contains("@import"), "{}", part.name);
        }
    }

    /// A part that held the end of its own element would go on as text of the page.
    #[test]
    fn no_part_ends_its_element_early() {
        for part in &PARTS {
            let lower = part.text.to_ascii_lowercase();
            assert!(!lower.contains("</script") && !lower.contains("<!--"), "{}", part.name);
            assert!(!lower.contains("</style"), "{}", part.name);
        }
    }

    /// Names come from clients: they reach the page as text.
    #[test]
    fn no_text_becomes_markup_or_code() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "srcdoc",
            "eval(",
            "new Function",
            "createContextualFragment",
            "DOMParser",
            "setHTML",
        ];
        for part in PARTS.iter().filter(|part| part.tag == "script") {
            for way in ways {
                assert!(!part.text.contains(way), "{}: {way}", part.name);
            }
        }
    }

    #[test]
    fn what_others_wrote_is_what_they_released() {
        let sums = include_str!("dashboard/vendor/SHA256SUMS");
        let licence = include_str!("dashboard/vendor/LICENSE-uplot");
        assert!(licence.contains("MIT"));
        let mut vendored = vec![("LICENSE-uplot", licence)];
        for part in &PARTS {
            vendored.extend(part.name.strip_prefix("vendor/").map(|name| (name, part.text)));
        }
        let sum =
            |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let found: Vec<String> =
            vendored.iter().map(|(name, text)| format!("{}  {name}", sum(text))).collect();
        assert_eq!(found, sums.lines().collect::<Vec<_>>());
    }
}

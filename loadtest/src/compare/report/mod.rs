//! The report: one HTML file that needs nothing else, no script and no network, in light and dark.
//!
//! Numbers stand in tables and bars within their rows, so that what a chart shows can be read, by eye or by
//! a screen reader, and stays legible on a phone.

mod bars;
mod curves;
mod page;
mod rounds;

pub(crate) use page::render;

/// Text as it stands in HTML, within quotes too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(escape("<b a='1' c=\"2\">&"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
    }
}

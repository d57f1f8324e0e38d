//! Colours and symbols, as far as the terminal has them.

use std::ffi::OsString;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;

/// What the terminal can show. The sixteen colours that every terminal has, in the tones that its owner gave them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether colours are wanted; without them bold and reverse have to do.
    pub(super) colours: bool,
    /// Whether it shows more than ASCII.
    pub(super) utf8: bool,
}

impl Theme {
    /// As the environment says: NO_COLOR, and the locale's character set.
    pub(super) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Theme {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // The first of them that is set is the one that counts (POSIX, section 8.2).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_uppercase();
        let utf8 = locale.contains("UTF-8") || locale.contains("UTF8");
        Theme { colours: set("NO_COLOR").is_none(), utf8 }
    }

    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Names of figures.
    pub(super) fn label(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Figures that are looked for first.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// All is well.
    pub(super) fn good(self) -> Style {
        self.colour(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// Something is to be looked at.
    pub(super) fn warning(self) -> Style {
        match self.colours {
            true => Style::new().fg(Color::Black).bg(Color::Yellow),
            false => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
        }
    }

    /// Something is wrong.
    pub(super) fn bad(self) -> Style {
        match self.colours {
            true => Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
            false => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
        }
    }

    /// Curves and bars.
    pub(super) fn curve(self) -> Style {
        self.colour(Color::Green)
    }

    /// The curve of what should not be.
    pub(super) fn bad_curve(self) -> Style {
        self.colour(Color::Red)
    }

    /// Heads of tables.
    pub(super) fn head(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The head of the column by which a table is sorted.
    pub(super) fn sorted(self) -> Style {
        self.head().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// The row that keys act on.
    pub(super) fn selected(self) -> Style {
        match self.colours {
            true => Style::new().fg(Color::Black).bg(Color::Cyan),
            false => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
        }
    }

    /// Figures that are no longer true. Without colours the banner above them says so alone.
    pub(super) fn stale(self) -> Style {
        self.colour(Color::DarkGray)
    }

    /// The nine heights of a curve.
    pub(super) fn heights(self) -> bar::Set<'static> {
        match self.utf8 {
            true => bar::NINE_LEVELS,
            false => bar::Set {
                full: "#",
                seven_eighths: "#",
                three_quarters: "=",
                five_eighths: "=",
                half: "-",
                three_eighths: "-",
                one_quarter: "_",
                one_eighth: "_",
                empty: " ",
            },
        }
    }

    /// A bar of so many columns of which `part` is full.
    pub(super) fn bar(self, part: f64, columns: usize) -> String {
        const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let eighths = (part.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
        let (full, rest) = (eighths / 8, eighths % 8);
        match self.utf8 {
            true => "█".repeat(full) + EIGHTHS[rest],
            false => "#".repeat(full + usize::from(rest >= 4)),
        }
    }

    /// What points to the side to which a column is sorted.
    pub(super) fn arrow(self, descending: bool) -> char {
        match (self.utf8, descending) {
            (true, true) => '▼',
            (true, false) => '▲',
            (false, true) => 'v',
            (false, false) => '^',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Theme {
        Theme::of(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_says_what_the_terminal_shows() {
        assert!(of(&[("LANG", "de_DE.UTF-8")]).utf8 && of(&[("LC_CTYPE", "C.utf8"), ("LANG", "C")]).utf8);
        assert!(!of(&[]).utf8 && !of(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]).utf8);
        assert!(of(&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")]).utf8);
        assert!(of(&[]).colours && of(&[("NO_COLOR", "")]).colours && !of(&[("NO_COLOR", "0")]).colours);
    }

    #[test]
    fn without_colours_no_style_has_one() {
        let theme = Theme { colours: false, utf8: true };
        let styles = [
            theme.label(),
            theme.strong(),
            theme.good(),
            theme.warning(),
            theme.bad(),
            theme.curve(),
            theme.bad_curve(),
            theme.head(),
            theme.sorted(),
            theme.selected(),
            theme.stale(),
        ];
        assert!(styles.iter().all(|style| style.fg.is_none() && style.bg.is_none()));
        assert_ne!(theme.selected(), theme.head());
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        let theme = Theme { colours: true, utf8: true };
        let ascii = Theme { colours: true, utf8: false };
        assert_eq!(
            (theme.bar(0.0, 4), theme.bar(0.5, 4), theme.bar(1.0, 4)),
            ("".into(), "██".into(), "████".into())
        );
        assert_eq!(
            (theme.bar(0.53, 4), theme.bar(7.0, 4), theme.bar(f64::NAN, 4)),
            ("██▏".into(), "████".into(), "".into())
        );
        assert_eq!((ascii.bar(0.5, 4), ascii.bar(0.7, 4)), ("##".into(), "###".into()));
    }
}

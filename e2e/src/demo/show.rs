//! What the demo prints, and in which colours.

use std::io::IsTerminal;

/// Prints to standard output, in colour where that is a terminal and nobody asked for none.
pub(super) struct Show {
    colour: bool,
}

impl Show {
    pub(super) fn new() -> Self {
        Self { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(super) fn title(&self, name: &str, saying: &str) {
        println!("\n{}: {saying}", self.paint("1;36", name));
    }

    pub(super) fn heading(&self, text: &str) {
        println!("\n{}", self.paint("1", text));
    }

    pub(super) fn fact(&self, name: &str, text: &str) {
        println!("  {} {text}", self.paint("2", &format!("{name:<10}")));
    }

    /// Something that was checked and is so.
    pub(super) fn step(&self, text: &str) {
        println!("  {} {text}", self.paint("32", "✓"));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

//! Findings for people, with styles that a terminal shows.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use crds::diagnostic::{Diagnostic, Severity};

use super::{Checked, Remark, Summary};
use crate::source::{Finding, shown};

const PLACE: Style = Style::new().bold();
const HELP: Style = AnsiColor::Cyan.on_default();

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Blue,
    };
    color.on_default().bold()
}

impl Checked {
    /// For people: each remark with its place and what helps, and how many there are. With styles; whoever prints it
    /// takes those away where nobody would see them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let written = self.findings.iter().try_for_each(|remark| remark.write(&mut text));
        written.and_then(|()| writeln!(text, "{}", self.summary)).expect("writing to a String cannot fail");
        text
    }
}

impl Remark {
    fn write(&self, f: &mut String) -> fmt::Result {
        let Finding { diagnostic, file, line } = &self.finding;
        let Diagnostic { object, field, severity, reason, message, remedy } = diagnostic;
        if let Some(file) = file {
            let line = line.map(|line| format!("{line}:")).unwrap_or_default();
            write!(f, "{PLACE}{}:{line}{PLACE:#} ", shown(file))?;
        }
        let (style, word) = (style(*severity), severity.word());
        writeln!(f, "{style}{word}{style:#}: {message} [{reason}]")?;
        let document = self.document.map(|number| format!("document {number}, ")).unwrap_or_default();
        match (object.name.is_empty(), field.is_empty()) {
            (true, _) => {}
            (false, true) => writeln!(f, "    in {document}{object}")?,
            (false, false) => writeln!(f, "    in {document}{object}, {field}")?,
        }
        writeln!(f, "    {HELP}help{HELP:#}: {remedy}")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
        let found = [(self.errors, "error"), (self.warnings, "warning"), (self.infos, "remark")];
        let found: Vec<_> =
            found.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| of(count, name)).collect();
        let found = if found.is_empty() { "nothing to remark".to_owned() } else { found.join(", ") };
        write!(f, "{found} in {}", of(self.objects, "object"))?;
        if self.files > 0 {
            write!(f, ", {}", of(self.files, "file"))?;
        }
        if self.others > 0 {
            write!(f, "; {} of kinds that Longhaul does not read", of(self.others, "object"))?;
        }
        Ok(())
    }
}

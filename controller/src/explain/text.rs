//! An explanation for people, with styles that a terminal shows.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use translate::{Saying, Setting};

use super::answer::Outcome;
use super::backends::{Role, State};
use super::routes::By;
use super::{Backend, Explanation, Kind, Scheme};

/// Of routes that have nothing to do with the request, so many are listed.
const MOST_OF_OTHER_PATHS: usize = 12;

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

impl Explanation {
    /// For people, with styles. Whoever prints it takes those away where nobody would see them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a String cannot fail");
        text
    }

    fn write(&self, f: &mut String) -> fmt::Result {
        let question = &self.question;
        let scheme = match (question.kind, question.scheme) {
            (Kind::Handshake, Scheme::Https) => "wss",
            (Kind::Handshake, Scheme::Http) => "ws",
            (Kind::Plain, Scheme::Https) => "https",
            (Kind::Plain, Scheme::Http) => "http",
        };
        let (method, host, target) = (&question.method, &question.host, &question.target);
        writeln!(f, "{HEADING}{method} {scheme}://{host}{target}{HEADING:#} from {}", question.client)?;
        if *self.path != *target.split('?').next().unwrap_or_default() {
            writeln!(f, "    compared as {}", self.path)?;
        }
        self.write_answer(f)?;
        self.write_route(f)?;
        self.write_lost(f)?;
        if !self.checks.is_empty() {
            heading(f, "Looked at on the way")?;
            for check in &self.checks {
                writeln!(f, "    {}: {}", check.what, check.why)?;
            }
        }
        self.write_settings(f)?;
        self.write_backends(f)?;
        if !self.remarks.is_empty() {
            heading(f, "What is wrong with these objects")?;
            for remark in &self.remarks {
                let place = remark.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
                writeln!(f, "    {place}{}: {}", remark.severity, remark.message)?;
                writeln!(f, "        in {}, {}", remark.object, remark.field)?;
                writeln!(f, "        help: {}", remark.remedy)?;
            }
        }
        Ok(())
    }

    fn write_answer(&self, f: &mut String) -> fmt::Result {
        let style = match self.answer.outcome {
            Outcome::Forwarded | Outcome::ForwardedIfAuthenticated | Outcome::Preflight => GOOD,
            Outcome::Redirected | Outcome::Refused | Outcome::NoConnection => BAD,
        };
        let word = match self.answer.outcome {
            Outcome::Forwarded => "forwarded",
            Outcome::ForwardedIfAuthenticated => "forwarded, if authenticated",
            Outcome::Redirected => "redirected",
            Outcome::Preflight => "answered by Longhaul",
            Outcome::Refused => "refused",
            Outcome::NoConnection => "no connection",
        };
        let status = self.answer.status.map(|status| format!(" with {status}")).unwrap_or_default();
        let location = self.answer.location.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        writeln!(f, "    {style}{word}{status}{location}{style:#}: {}", self.answer.why)
    }

    fn write_route(&self, f: &mut String) -> fmt::Result {
        let Some(route) = &self.route else { return Ok(()) };
        heading(f, "The route that wins")?;
        let place = route.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        writeln!(f, "    {}, {}{place}", route.object, route.field)?;
        writeln!(f, "    {} {}", route.rule, route.matched)?;
        route.why.iter().try_for_each(|why| writeln!(f, "      - {why}"))
    }

    fn write_lost(&self, f: &mut String) -> fmt::Result {
        if self.lost.is_empty() {
            return Ok(());
        }
        heading(f, "What lost, and why")?;
        let (other_paths, near): (Vec<_>, Vec<_>) = self.lost.iter().partition(|lost| lost.by == By::Path);
        for lost in near.iter().chain(other_paths.iter().take(MOST_OF_OTHER_PATHS)) {
            writeln!(f, "    {} {}", lost.object, lost.matched)?;
            writeln!(f, "      - {}", lost.why)?;
        }
        match other_paths.len().saturating_sub(MOST_OF_OTHER_PATHS) {
            0 => Ok(()),
            more => writeln!(f, "    and {more} more of other paths; --format json lists them all"),
        }
    }

    fn write_settings(&self, f: &mut String) -> fmt::Result {
        if self.settings.is_empty() {
            return Ok(());
        }
        heading(f, "Settings, and who says so")?;
        let width = self.settings.iter().map(|setting| setting.name.len()).max().unwrap_or_default();
        self.settings.iter().try_for_each(|setting| write_setting(f, setting, width))
    }

    fn write_backends(&self, f: &mut String) -> fmt::Result {
        if self.backends.is_empty() {
            return Ok(());
        }
        heading(f, "Endpoints to pick from")?;
        self.backends.iter().try_for_each(|backend| write_backend(f, backend))
    }
}

fn heading(f: &mut String, text: &str) -> fmt::Result {
    writeln!(f, "\n{HEADING}{text}{HEADING:#}")
}

fn write_setting(f: &mut String, Setting { name, value, said }: &Setting, width: usize) -> fmt::Result {
    write!(f, "    {name:width$}  ")?;
    match (value, said.first()) {
        (Value::Null, Some(first)) => write!(f, "no effect: {}", plain(&first.value))?,
        _ => write!(f, "{}", plain(value))?,
    }
    match said.first() {
        Some(first) => write!(f, "  {FAINT}{}{FAINT:#}", who(first))?,
        None => write!(f, "  {FAINT}follows from others{FAINT:#}")?,
    }
    for below in said.iter().skip(1) {
        write!(f, "{FAINT}, over {} of {}{FAINT:#}", plain(&below.value), who(below))?;
    }
    writeln!(f)
}

fn who(saying: &Saying) -> String {
    if saying.fields.is_empty() { saying.layer.clone() } else { saying.fields.join(" with ") }
}

/// A value without the quotes that JSON needs.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn write_backend(f: &mut String, backend: &Backend) -> fmt::Result {
    let role = match backend.role {
        Role::Backend => String::new(),
        Role::Canary => ", canary".to_owned(),
        Role::Standby => ", standby".to_owned(),
    };
    let gets = backend.gets.as_ref().map(|gets| format!(": {gets}")).unwrap_or_default();
    writeln!(f, "    {}, {:.0} %{role}{gets}", backend.service, backend.share)?;
    if backend.endpoints.is_empty() {
        writeln!(f, "        none")?;
    }
    for endpoint in &backend.endpoints {
        let state = match endpoint.state {
            State::Ready => "ready",
            State::Terminating => "terminating: only where nobody is ready",
            State::NotReady => "not ready: keeps what it has",
        };
        writeln!(f, "        {}  {state}", endpoint.address)?;
    }
    for address in &backend.waiting {
        writeln!(f, "        {address}  not ready: takes nothing new")?;
    }
    Ok(())
}

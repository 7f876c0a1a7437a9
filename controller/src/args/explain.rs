//! The command line of `explain`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgGroup, ValueEnum};
use translate::Settings;

use super::{Color, OneCluster, Reading};
use crate::explain::{Kind, Question, Scheme};

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag that is there or not")]
#[command(group = ArgGroup::new("world").required(true).args(["dir", "cluster", "controller"]))]
#[command(group = ArgGroup::new("elsewhere").args(["dir", "controller"]))]
#[command(group = ArgGroup::new("scheme").args(["tls", "http"]))]
pub struct Explain {
    /// The host that is asked for, with or without port.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub host: String,

    /// The path that is asked for, with or without a query.
    #[arg(long, value_name = "PATH[?QUERY]", default_value = "/")]
    pub path: String,

    /// A query parameter; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub query: Vec<String>,

    /// The method. A handshake is a GET.
    #[arg(long, value_name = "METHOD", default_value = "GET", conflicts_with = "websocket")]
    pub method: String,

    /// A request field; may be repeated.
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    pub header: Vec<(String, String)>,

    /// The client's address.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))]
    pub client: IpAddr,

    /// The request opens a WebSocket.
    #[arg(long)]
    pub websocket: bool,

    /// A subprotocol that the handshake offers; may be repeated.
    #[arg(long, value_name = "NAME", requires = "websocket")]
    pub subprotocol: Vec<String>,

    /// It comes over TLS; this is the default.
    #[arg(long)]
    pub tls: bool,

    /// It comes in the clear.
    #[arg(long)]
    pub http: bool,

    /// Manifests: files, directories, and - for standard input. As for `check`.
    #[arg(long, value_name = "PATH")]
    pub dir: Vec<PathBuf>,

    /// What is in a cluster, read once with the permissions that you have.
    #[arg(long)]
    pub cluster: bool,

    /// Ask the controller whose admin server (`run --admin`) listens there: it knows what it has published.
    #[arg(long, value_name = "ADDR:PORT")]
    pub controller: Option<SocketAddr>,

    /// How the explanation is written, on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ExplainFormat,

    /// Whether text is coloured.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    /// Which cluster.
    #[command(flatten)]
    pub of: OneCluster,

    /// How the objects are read. A controller that runs knows itself how.
    #[command(flatten)]
    pub reading: Reading,
}

/// How an explanation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

impl Explain {
    /// What is asked.
    pub fn question(&self) -> Question {
        let mut target = self.path.clone();
        for parameter in &self.query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(parameter);
        }
        let mut fields = self.header.clone();
        if !self.subprotocol.is_empty() {
            fields.push(("Sec-WebSocket-Protocol".into(), self.subprotocol.join(", ")));
        }
        Question {
            method: self.method.clone(),
            host: self.host.clone(),
            target,
            fields,
            client: self.client,
            scheme: if self.http { Scheme::Http } else { Scheme::Https },
            kind: if self.websocket { Kind::Handshake } else { Kind::Plain },
        }
    }

    /// How the objects are translated.
    pub fn settings(&self) -> Settings {
        let reading = self.reading.clone();
        if self.cluster {
            reading.of_cluster(&self.of.namespaces, self.of.watch_without_class)
        } else {
            reading.settings()
        }
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write a name, a colon and a value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn explain(flags: &[&str]) -> Result<Box<Explain>, clap::Error> {
        let arguments = ["longhaul-controller", "explain"].iter().chain(flags);
        match Args::try_parse_from(arguments)?.command {
            Command::Explain(explain) => Ok(explain),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_request() {
        let flags =
            ["--host=a", "--path=/x?a=1", "--query=b=2", "--header=X-A:  1", "--websocket", "--dir=."];
        let question = explain(&[&flags[..], &["--subprotocol=p", "--subprotocol=q", "--http"]].concat());
        let question = question.unwrap().question();
        assert_eq!(question.target, "/x?a=1&b=2");
        let fields = [("X-A", "1"), ("Sec-WebSocket-Protocol", "p, q")];
        assert_eq!(question.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((question.scheme, question.kind), (Scheme::Http, Kind::Handshake));
    }

    #[test]
    fn one_world_is_asked_about() {
        for flags in [
            &["--host=a"][..],
            &["--host=a", "--dir=.", "--cluster"],
            &["--host=a", "--cluster", "--controller=127.0.0.1:1"],
            &["--host=a", "--dir=.", "--tls", "--http"],
            &["--host=a", "--dir=.", "--subprotocol=p"],
            &["--host=a", "--dir=.", "--context=x"],
            &["--host=a", "--dir=.", "--header=x"],
            &["--dir=."],
        ] {
            assert_eq!(explain(flags).map(|_| ()).unwrap_err().exit_code(), 2, "{flags:?}");
        }
    }
}

//! Texts with places for what a request says. Nothing that a client sends breaks out of the address that is made of it.

use std::fmt::Write as _;

use snapshot::Piece;

use crate::connection::Asking;
use crate::forward;

/// A text with places.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    pub(super) fn new(template: &snapshot::Template) -> Result<Self, String> {
        let sound = |piece: &Piece| match piece {
            Piece::Text(text) => text.bytes().all(|byte| byte.is_ascii_graphic()),
            _ => true,
        };
        match template.0.iter().find(|piece| !sound(piece)) {
            Some(piece) => Err(format!("{piece:?} cannot be a part of an address")),
            None => Ok(Self(template.0.clone())),
        }
    }

    /// What it says of a request: visible ASCII.
    pub(super) fn fill(&self, asking: &Asking) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            fill(piece, asking, &mut text);
        }
        text
    }
}

fn fill(piece: &Piece, asking: &Asking, text: &mut String) {
    let head = &asking.head;
    match piece {
        Piece::Text(literal) => text.push_str(literal),
        Piece::Host => encode(head.host.as_bytes(), text),
        Piece::Authority => encode(head.authority.as_bytes(), text),
        Piece::Target => encode(head.target.as_bytes(), text),
        Piece::EscapedTarget => escape(&head.target, text),
        Piece::Scheme => text.push_str(forward::client_scheme(head, &asking.peer())),
        Piece::Method => encode(head.method.as_str().as_bytes(), text),
        Piece::Client => encode(asking.client.to_string().as_bytes(), text),
        Piece::Header(name) => encode(head.fields.get(name).unwrap_or_default(), text),
        Piece::Argument(name) => {
            let mut pairs = head.query().into_iter().flat_map(|query| query.split('&'));
            let value = pairs.find_map(|pair| pair.strip_prefix(&**name)?.strip_prefix('='));
            encode(value.unwrap_or_default().as_bytes(), text);
        }
        Piece::Cookie(name) => encode(head.cookie(name).unwrap_or_default(), text),
    }
}

/// Puts everything in percent form that an address may not hold; what is so already stays.
fn encode(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%[]".contains(byte) {
            text.push(char::from(*byte));
        } else {
            percent(*byte, text);
        }
    }
}

/// Puts everything in percent form that the value of a query parameter may not hold.
pub(super) fn escape(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            percent(byte, text);
        }
    }
}

fn percent(byte: u8, text: &mut String) {
    write!(text, "%{byte:02X}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::head::RequestParser;

    #[tokio::test]
    async fn what_a_client_sends_stays_in_its_place() {
        let request = "GET /a%20b?token=x^y&z HTTP/1.1\r\nHost: App.test:80\r\nX-User: a b#\"\t\u{e9}&c\r\n\
                       Cookie: sid2=no; sid=s 1\r\n\r\n";
        let head = RequestParser::default().parse(request.as_bytes()).unwrap().unwrap().0;
        let (client, id) = ("192.0.2.1".parse().unwrap(), "r-1".to_owned());
        let asking = Asking {
            head,
            client,
            socket_peer: client,
            trusted: false,
            id,
            tls: true,
            port: 443,
            began: Instant::now(),
            session: None,
            clients: None,
        };
        for (piece, wanted) in [
            (Piece::Host, "app.test"),
            (Piece::Authority, "App.test:80"),
            (Piece::Target, "/a%20b?token=x%5Ey&z"),
            (Piece::EscapedTarget, "%2Fa%2520b%3Ftoken%3Dx%5Ey%26z"),
            (Piece::Scheme, "https"),
            (Piece::Method, "GET"),
            (Piece::Client, "192.0.2.1"),
            (Piece::Header("x-user".into()), "a%20b%23%22%09%C3%A9&c"),
            (Piece::Header("x-none".into()), ""),
            (Piece::Argument("token".into()), "x%5Ey"),
            (Piece::Argument("tok".into()), ""),
            (Piece::Cookie("sid".into()), "s%201"),
        ] {
            let template =
                snapshot::Template(vec![Piece::Text("<".into()), piece.clone(), Piece::Text(">".into())]);
            let filled = Template::new(&template).unwrap().fill(&asking);
            assert_eq!(filled, format!("<{wanted}>"), "{piece:?}");
        }
        assert!(Template::new(&snapshot::Template(vec![Piece::Text("a b".into())])).is_err());
    }
}

//! Takes credentials out of request targets before they are written down.

use std::borrow::Cow;

/// Query parameters whose values are credentials by custom: browsers cannot set fields on a WebSocket handshake, so
/// they travel here.
const CREDENTIALS: [&str; 4] = ["token", "access_token", "ticket", "sid"];

/// The target with each such parameter's value replaced by `-`.
pub fn target(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else { return Cow::Borrowed(target) };
    if !query.split('&').any(is_credential) {
        return Cow::Borrowed(target);
    }
    let parameters: Vec<Cow<'_, str>> = query.split('&').map(redacted).collect();
    Cow::Owned(format!("{path}?{}", parameters.join("&")))
}

fn redacted(parameter: &str) -> Cow<'_, str> {
    match parameter.split_once('=') {
        Some((name, _)) if is_credential(parameter) => Cow::Owned(format!("{name}=-")),
        _ => Cow::Borrowed(parameter),
    }
}

fn is_credential(parameter: &str) -> bool {
    parameter
        .split_once('=')
        .is_some_and(|(name, _)| CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_cut_and_nothing_else() {
        let cases = [
            ("/ws", "/ws"),
            ("/ws?room=1", "/ws?room=1"),
            ("/ws?token=secret", "/ws?token=-"),
            ("/ws?room=1&Access_Token=a=b&x", "/ws?room=1&Access_Token=-&x"),
            ("/ws?sid=1&sid=2", "/ws?sid=-&sid=-"),
            ("/token=1", "/token=1"),
            ("/?nottoken=1", "/?nottoken=1"),
        ];
        for (before, after) in cases {
            assert_eq!(target(before), after);
        }
    }
}

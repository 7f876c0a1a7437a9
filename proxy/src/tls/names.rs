//! Names in certificates as text (RFC 4514), in the form in which OpenSSL and nginx write them: the last part first,
//! what is no visible ASCII as `\` and two digits.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The types that RFC 4514 §3 and OpenSSL have short names for. Others are written as their numbers.
const TYPES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A name on one line of visible ASCII.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.into_iter().rev().map(|part| {
        let attributes: Vec<_> = part.iter().map(attribute).collect();
        attributes.join("+")
    });
    parts.collect::<Vec<_>>().join(",")
}

/// The common names in a name, as they are.
pub(super) fn common_names(name: &X509Name<'_>) -> Vec<String> {
    name.iter_common_name().filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect()
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let value = match attribute.as_str() {
        Ok(value) => escaped(value),
        // RFC 4514 §2.4: what is no string is written as its bytes.
        Err(_) => attribute.as_slice().iter().fold("#".to_owned(), |mut text, byte| {
            write!(text, "{byte:02X}").expect("writing to a String cannot fail");
            text
        }),
    };
    let name = TYPES.iter().find(|(known, _)| *known == number).map_or(&*number, |(_, name)| name);
    format!("{name}={value}")
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, byte) in value.bytes().enumerate() {
        let edge = at == 0 || at + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => text.extend(['\\', char::from(byte)]),
            b' ' if edge => text.push_str("\\ "),
            b'#' if at == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn names_are_written_as_openssl_writes_them() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Ärger, Söhne\r\nX-Evil: 1");
        params.distinguished_name.push(DnType::CommonName, " #a+b ");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).unwrap();
        assert_eq!(
            text(parsed.subject()),
            "CN=\\ #a\\+b\\ ,O=\\C3\\84rger\\, S\\C3\\B6hne\\0D\\0AX-Evil: 1,C=DE"
        );
        assert_eq!(common_names(parsed.subject()), [" #a+b "]);
    }
}

//! Programs of other people.

use e2e::backend::demo::DemoBackend;
use e2e::foreign::{Foreign, Tool};

use super::*;

/// A world with a backend that opens WebSockets, and files with a certificate and its key.
async fn site(clients: &Clients) -> (World, DemoBackend, [String; 2]) {
    let demo = DemoBackend::start("blue").await.unwrap();
    let authority = Authority::new().unwrap();
    let host = "localhost";
    let files = [
        e2e::objects::backend("backend", &[demo.address()]),
        authority.issue(&[host]).unwrap().secret("default", "pair"),
        route(host, "pair", &asks("devices", "Required")),
        authorities("devices", &clients.devices.pem(), None),
    ];
    let world =
        World::plan().authority(authority).file("objects.yaml", files.join("---\n")).start().await.unwrap();
    let ann = clients.device("ann");
    let files = [("ann.crt", &ann.certificate), ("ann.key", &ann.key)].map(|(name, text)| {
        let path = world.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    });
    (world, demo, files)
}

#[tokio::test]
async fn curl_with_a_certificate_comes_in() {
    if !Tool::Curl.wanted_by("curl_with_a_certificate_comes_in") {
        return;
    }
    let clients = Clients::new();
    let (world, _demo, [certificate, key]) = site(&clients).await;
    let url = format!("https://localhost:{}/whoami", world.proxy().unwrap().https().port());
    let ca = world.ca_file();
    let trusting = ["--cacert", ca.to_str().unwrap(), "--ipv4"];
    let with = [
        &trusting[..],
        &["--cert", &certificate, "--key", &key, "-o", "/dev/null", "-w", "%{http_code}", &url],
    ]
    .concat();
    assert_eq!(Foreign::curl(&with).unwrap().text().await.unwrap(), "200");
    let without = [&trusting[..], &["-o", "/dev/null", "-w", "%{http_code}", &url]].concat();
    assert!(Foreign::curl(&without).unwrap().text().await.is_err());
}

#[tokio::test]
async fn wscat_with_a_certificate_comes_in() {
    if !Tool::Node.wanted_by("wscat_with_a_certificate_comes_in") {
        return;
    }
    let clients = Clients::new();
    let (world, _demo, [certificate, key]) = site(&clients).await;
    let url = format!("wss://localhost:{}/echo", world.proxy().unwrap().https().port());
    let ca = world.ca_file();
    let arguments = [
        "-x",
        "hello",
        "-w",
        "-1",
        "-c",
        &url,
        "--ca",
        ca.to_str().unwrap(),
        "--cert",
        &certificate,
        "--key",
        &key,
    ];
    let mut cat = Foreign::wscat(&arguments).unwrap();
    assert_eq!(cat.line().await.unwrap(), "hello");
    cat.success().await.unwrap();
    let alone = Foreign::wscat(&arguments[..8]).unwrap().text().await.unwrap_or_default();
    assert!(!alone.contains("hello"), "without a certificate nothing is opened: {alone}");
}

#[tokio::test]
async fn python_with_a_certificate_comes_in() {
    if !Tool::Python.wanted_by("python_with_a_certificate_comes_in") {
        return;
    }
    let clients = Clients::new();
    let (world, _demo, [certificate, key]) = site(&clients).await;
    let port = world.proxy().unwrap().https().port().to_string();
    let ca = world.ca_file();
    let arguments = ["127.0.0.1", &port, "localhost", ca.to_str().unwrap(), &certificate, &key];
    assert_eq!(Foreign::python("client_certificate.py", &arguments).unwrap().text().await.unwrap(), "ok\n");
}

#[tokio::test]
async fn openssl_is_told_whose_certificates_are_taken() {
    if !Tool::OpenSsl.wanted_by("openssl_is_told_whose_certificates_are_taken") {
        return;
    }
    let clients = Clients::new();
    let (world, _demo, [certificate, key]) = site(&clients).await;
    let address = world.proxy().unwrap().https().to_string();
    let request = "GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let alone = ["-connect", &address, "-servername", "localhost", version];
        let said = Foreign::openssl_request(&alone, request).await.unwrap();
        assert!(said.contains("CN = Longhaul test authority") && said.contains("alert"), "{said}");
        assert!(!said.contains("HTTP/1.1"), "{said}");
        let with = [&alone[..], &["-cert", &certificate, "-key", &key]].concat();
        let said = Foreign::openssl_request(&with, request).await.unwrap();
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
    }
}

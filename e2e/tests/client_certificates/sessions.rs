//! Sessions that are taken up again: where they began, and nowhere else.

use e2e::foreign::{Foreign, Tool};
use rustls::HandshakeKind;

use super::*;

/// Has OpenSSL begin a session at one host and offer it to another. Returns what it says of the second.
async fn offered(world: &World, from: &str, to: &str, flags: &[&str], pair: Option<(&str, &str)>) -> String {
    let address = world.proxy().unwrap().https().to_string();
    let ca = world.ca_file();
    let session = world.folder().join("session");
    let session = session.to_str().unwrap();
    let _ = std::fs::remove_file(session);
    let mut said = String::new();
    for (host, flag) in [(from, "-sess_out"), (to, "-sess_in")] {
        let mut arguments = vec!["-connect", &address, "-servername", host, "-CAfile", ca.to_str().unwrap()];
        arguments.extend(flags);
        arguments.extend([flag, session]);
        if let Some((certificate, key)) = pair.filter(|_| flag == "-sess_out" || from == to) {
            arguments.extend(["-cert", certificate, "-key", key]);
        }
        let request = format!("GET /whoami HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        said = Foreign::openssl_request(&arguments, &request).await.unwrap();
        if flag == "-sess_out" {
            assert!(said.contains("HTTP/1.1 200 "), "{host}: {said}");
        }
    }
    said
}

#[tokio::test]
async fn openssl_takes_up_no_session_of_a_host_that_asks_for_something_else() {
    if !Tool::OpenSsl.wanted_by("openssl_takes_up_no_session_of_a_host_that_asks_for_something_else") {
        return;
    }
    let clients = Clients::new();
    let (world, _backend) = world(&clients).await;
    let ann = clients.device("ann");
    let files = [("ann.crt", &ann.certificate), ("ann.key", &ann.key)].map(|(name, text)| {
        let path = world.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let pair = Some((&*files[0], &*files[1]));
    for flags in [&["-tls1_3"][..], &["-tls1_2"]] {
        // That it can be done at all.
        let said = offered(&world, OPEN, OPEN, flags, None).await;
        assert!(said.contains("Reused, TLS") && said.contains("HTTP/1.1 200 "), "{said}");
        let said = offered(&world, REQUIRED, REQUIRED, flags, pair).await;
        assert!(said.contains("Reused, TLS") && said.contains("HTTP/1.1 200 "), "{said}");
        for (from, pair) in [(OPEN, None), (OPTIONAL, None), (OPTIONAL, pair)] {
            let said = offered(&world, from, REQUIRED, flags, pair).await;
            assert!(!said.contains("Reused, TLS") && !said.contains("HTTP/1.1 "), "{from} {flags:?}: {said}");
            assert!(said.contains("alert"), "{from} {flags:?}: {said}");
        }
        let said = offered(&world, REQUIRED, OTHER, flags, pair).await;
        assert!(!said.contains("Reused, TLS") && !said.contains("HTTP/1.1 "), "{flags:?}: {said}");
    }
}

/// The status of a page of the host that asks, or what failed, and whether the session was taken up.
async fn visit(world: &World, config: &Arc<ClientConfig>) -> Result<(u16, HandshakeKind)> {
    let stream = TcpStream::connect(world.proxy()?.https()).await?;
    let shaking = TlsConnector::from(config.clone()).connect(ServerName::try_from(REQUIRED)?, stream);
    let stream = timeout(e2e::wire::PATIENCE, shaking).await.context("no end of the handshake")??;
    let kind = stream.get_ref().1.handshake_kind().context("the handshake is done")?;
    let mut wire = Wire::new(stream);
    let answer = ask(&mut wire, REQUIRED, "Connection: close\r\n").await?;
    wire.rest().await?;
    Ok((answer.status, kind))
}

#[tokio::test]
async fn nothing_that_began_under_other_authorities_goes_on_but_tunnels() {
    for versions in [V1_2, V1_3] {
        let clients = Clients::new();
        let demo = e2e::backend::demo::DemoBackend::start("blue").await.unwrap();
        let (plan, _backend) = plan(&clients).await;
        let plan = plan.file("demo.yaml", e2e::objects::backend("demo", &[demo.address()]));
        let mut world = plan.start().await.unwrap();
        let demo_route = route(REQUIRED, "pair", &asks("devices", "Required"))
            .replace("service: backend", "service: demo");
        world.write("required.yaml", &demo_route).await.unwrap();

        let config = client(&world, versions, Some(clients.device("ann").proof(&[])));
        let bob = client(&world, versions, Some(clients.others.issue_user("bob", None).unwrap().proof(&[])));
        assert_eq!(visit(&world, &config).await.unwrap(), (200, HandshakeKind::Full));
        assert_eq!(visit(&world, &config).await.unwrap(), (200, HandshakeKind::Resumed));
        let mut kept = connect(&world, REQUIRED, &config).await.unwrap();
        assert_eq!(ask(&mut kept, REQUIRED, "").await.unwrap().status, 200);
        let open = Target::tls(world.proxy().unwrap().https(), REQUIRED, config.clone());
        let mut socket = open.websocket("/echo").await.unwrap();

        // Both, as in a rotation: another set is another set.
        let both = format!("{}{}", clients.devices.pem(), clients.others.pem());
        world.write("devices.yaml", &authorities("devices", &both, None)).await.unwrap();
        assert_eq!(ask(&mut kept, REQUIRED, "").await.unwrap().status, 421);
        assert_eq!(visit(&world, &config).await.unwrap(), (200, HandshakeKind::Full));
        assert_eq!(visit(&world, &bob).await.unwrap(), (200, HandshakeKind::Full));
        let mut kept = connect(&world, REQUIRED, &config).await.unwrap();
        assert_eq!(ask(&mut kept, REQUIRED, "").await.unwrap().status, 200);

        world.write("devices.yaml", &authorities("devices", &clients.others.pem(), None)).await.unwrap();
        assert_eq!(ask(&mut kept, REQUIRED, "").await.unwrap().status, 421);
        let refused = visit(&world, &config).await;
        assert!(
            refused.as_ref().is_err_and(|error| format!("{error:#}").contains("UnknownCA")),
            "{refused:?}"
        );
        assert_eq!(visit(&world, &bob).await.unwrap().0, 200);
        socket.echo("who is in stays in").await.unwrap();
    }
}

#[tokio::test]
async fn a_ticket_of_before_a_host_asked_is_none() {
    for versions in [V1_2, V1_3] {
        let clients = Clients::new();
        let (mut world, _backend) = world(&clients).await;
        world.write("required.yaml", &route(REQUIRED, "pair", "")).await.unwrap();
        let config = client(&world, versions, None);
        assert_eq!(visit(&world, &config).await.unwrap(), (200, HandshakeKind::Full));
        assert_eq!(visit(&world, &config).await.unwrap(), (200, HandshakeKind::Resumed));
        for (mode, comes_in) in [("Required", false), ("Optional", true), ("Required", false)] {
            world.write("required.yaml", &route(REQUIRED, "pair", &asks("devices", mode))).await.unwrap();
            match visit(&world, &config).await {
                Ok(visited) => assert_eq!((comes_in, visited), (true, (200, HandshakeKind::Full))),
                Err(error) => {
                    assert!(
                        !comes_in && format!("{error:#}").contains("CertificateRequired"),
                        "{mode}: {error:#}"
                    );
                }
            }
        }
    }
}

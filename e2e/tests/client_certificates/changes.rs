//! Secrets that are missing, odd or changed, and certificates that are revoked.

use super::*;

#[tokio::test]
async fn a_host_is_closed_while_nobody_can_say_whose_certificates_are_good() {
    let clients = Clients::new();
    let (mut world, backend) = world(&clients).await;
    let (ann, bob) = (clients.device("ann"), clients.others.issue_user("bob", None).unwrap());
    let devices = authorities("devices", &clients.devices.pem(), None);
    assert_eq!(target(&world, REQUIRED, &ann).get("/").await.unwrap().status, 200);

    world.remove("devices.yaml").await.unwrap();
    let closed = async |world: &World, why: &str| {
        let served = backend.records().len();
        for host in [REQUIRED, OPTIONAL, ALSO] {
            for target in [target(world, host, &ann), world.tls(host).unwrap(), world.plain(host).unwrap()] {
                assert_eq!(target.get("/").await.unwrap().status, 503, "{host} {why}");
            }
        }
        assert_eq!(backend.records().len(), served);
        assert_eq!(target(world, OTHER, &bob).get("/").await.unwrap().status, 200);
        assert_eq!(world.tls(OPEN).unwrap().get("/").await.unwrap().status, 200);
        let report = world.controller().unwrap().api("/api/objects").await.unwrap().to_string();
        assert!(
            report.contains(why) && report.contains("spec.tls[0].clientCertificate.caSecretName"),
            "{report}"
        );
    };
    closed(&world, "there is no Secret default/devices").await;
    let secret = |data: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: devices}}\nstringData: {data}\n")
    };
    for (data, why) in [
        ("{}", "it has no ca.crt"),
        ("{ca.crt: secret words}", "its ca.crt holds no certificate in PEM"),
        (
            "{ca.crt: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n\"}",
            "its ca.crt holds a certificate that does not parse",
        ),
    ] {
        world.write("devices.yaml", &secret(data)).await.unwrap();
        closed(&world, why).await;
    }
    world
        .write("devices.yaml", &authorities("devices", &clients.devices.pem(), Some("no list")))
        .await
        .unwrap();
    closed(&world, "its ca.crl holds no list in PEM").await;
    assert!(!world.logs().contains("secret words"));

    // What was opened meanwhile, without a certificate, is open to nothing.
    let config = client(&world, V1_3, None);
    let mut early = connect(&world, REQUIRED, &config).await.unwrap();
    assert_eq!(ask(&mut early, REQUIRED, "").await.unwrap().status, 503);
    world.write("devices.yaml", &devices).await.unwrap();
    assert_eq!(ask(&mut early, REQUIRED, "").await.unwrap().status, 421);
    assert_eq!(target(&world, REQUIRED, &ann).get("/").await.unwrap().status, 200);
    assert!(page(&world, REQUIRED, &config).await.contains("CertificateRequired"));
}

#[tokio::test]
async fn who_is_revoked_stays_out() {
    let clients = Clients::new();
    let (mut world, _backend) = world(&clients).await;
    let (ann, eve) = (clients.device("ann"), clients.device("eve"));
    let config = |pair: &Pair| client(&world, V1_3, Some(pair.proof(&[])));
    let (of_ann, of_eve) = (config(&ann), config(&eve));
    assert_eq!(page(&world, REQUIRED, &of_eve).await, "200");
    let pem = clients.devices.pem();

    let list = clients.devices.revoke(&[&eve]).unwrap();
    world.write("devices.yaml", &authorities("devices", &pem, Some(&list))).await.unwrap();
    for host in [REQUIRED, OPTIONAL] {
        assert_eq!(page(&world, host, &of_ann).await, "200");
        let refused = page(&world, host, &of_eve).await;
        assert!(refused.contains("CertificateRevoked"), "a ticket of before is none any more: {refused}");
    }
    // A list that is out of date says nothing, so nobody comes in by it.
    let list = clients.devices.revoke_long_ago(&[&eve]).unwrap();
    world.write("devices.yaml", &authorities("devices", &pem, Some(&list))).await.unwrap();
    let refused = page(&world, REQUIRED, &of_ann).await;
    assert!(refused.contains("fatal alert"), "{refused}");
    world.write("devices.yaml", &authorities("devices", &pem, None)).await.unwrap();
    assert_eq!(page(&world, REQUIRED, &of_eve).await, "200");
}

//! Looks at a directory one after another: what changes, and what is said.

use super::*;

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"
    )
}

fn broken_service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{portz: []}}\n")
}

fn scan(files: &[(&str, &str)]) -> Scan {
    let file = |(path, text): &(&str, &str)| (Path::new(path).into(), Ok(text.as_bytes().to_vec()));
    Scan { files: files.iter().map(file).collect(), ..Scan::default() }
}

/// Changes in short: `+a:80` an upsert with its port, `-a` a deletion.
fn look(catalogue: &mut Catalogue, scan: Scan) -> (String, Vec<String>) {
    let (batch, said) = catalogue.update(scan);
    let object = |object: &Object| match object {
        Object::Service(service) => {
            let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
            format!("{}:{}", service.metadata.name.as_deref().unwrap(), ports[0].port)
        }
        other => other.reference().to_string(),
    };
    let changes = batch.iter().filter_map(|change| match change {
        Change::Upsert(upserted) => Some(format!("+{}", object(upserted))),
        Change::Delete(reference) => Some(format!("-{}", reference.name)),
        Change::Replace(kind, objects) if !objects.is_empty() => {
            Some(format!("{kind}={}", objects.iter().map(object).collect::<Vec<_>>().join(",")))
        }
        Change::Replace(..) | Change::Synced(_) | Change::OnDemand(_) | Change::Absent(_) => None,
    });
    let changes = changes.collect::<Vec<_>>().join(" ");
    let finding = |finding: &Finding| {
        let line = finding.line.map_or(String::new(), |line| line.to_string());
        format!("{}:{line}: {}", finding.file.as_deref().unwrap(), finding.diagnostic)
    };
    (changes, said.findings.iter().map(finding).collect())
}

fn changes(catalogue: &mut Catalogue, files: &[(&str, &str)]) -> String {
    look(catalogue, scan(files)).0
}

#[test]
fn the_first_look_brings_everything_and_later_ones_what_differs() {
    let mut catalogue = Catalogue::default();
    let (a, b) = (service("a", 1), service("b", 2));
    let (batch, _) = catalogue.update(scan(&[("x.yaml", &a)]));
    assert_eq!(batch.len(), 2 * Kind::ALL.len());
    assert!(matches!(batch.last(), Some(Change::Synced(_))));
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &a), ("y.yaml", &b)]), "+b:2");
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &a), ("y.yaml", &b)]), "");
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &service("a", 3)), ("y.yaml", &b)]), "+a:3");
    assert_eq!(changes(&mut catalogue, &[("z.yaml", &service("a", 3)), ("y.yaml", &b)]), "", "only moved");
    assert_eq!(changes(&mut catalogue, &[("y.yaml", &b)]), "-a");
    assert_eq!(changes(&mut catalogue, &[]), "-b");
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_objects() {
    let mut catalogue = Catalogue::default();
    let two = service("a", 1) + "---\n" + &service("b", 2);
    changes(&mut catalogue, &[("x.yaml", &two)]);
    let (none, said) = look(&mut catalogue, scan(&[("x.yaml", "a: [\n"), ("y.yaml", &service("c", 3))]));
    assert_eq!(none, "+c:3");
    assert!(said[0].starts_with("x.yaml:2: File x.yaml : the file cannot be read"), "{said:?}");
    let mut unreadable = scan(&[("y.yaml", &service("c", 3))]);
    unreadable.files.insert(Path::new("x.yaml").into(), Err("permission denied".into()));
    let (none, said) = look(&mut catalogue, unreadable);
    assert_eq!((&*none, said[0].contains("permission denied")), ("", true), "{said:?}");
    let mut bytes = scan(&[("y.yaml", &service("c", 3))]);
    bytes.files.insert(Path::new("x.yaml").into(), Ok(vec![b'a', 0xff]));
    let (none, said) = look(&mut catalogue, bytes);
    assert_eq!((&*none, said[0].contains("not UTF-8 at byte 1")), ("", true), "{said:?}");
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &two), ("y.yaml", &service("c", 3))]), "");
    // At start there is nothing to keep.
    assert_eq!(
        changes(&mut Catalogue::default(), &[("x.yaml", "a: [\n"), ("y.yaml", &two)]),
        "Service=a:1,b:2"
    );
}

#[test]
fn a_directory_that_cannot_be_read_keeps_its_objects() {
    let mut catalogue = Catalogue::default();
    changes(&mut catalogue, &[("d/x.yaml", &service("a", 1)), ("e/y.yaml", &service("b", 2))]);
    let mut hidden = scan(&[]);
    hidden.unreadable.insert("d".into(), "gone".into());
    let (changed, said) = look(&mut catalogue, hidden);
    assert_eq!(changed, "-b");
    assert_eq!(
        said,
        ["d:: File d : the directory cannot be read: gone (every object below it stays as it was)"]
    );
}

#[test]
fn a_refused_object_keeps_its_own_previous_version() {
    let mut catalogue = Catalogue::default();
    let two = service("a", 1) + "---\n" + &service("b", 2);
    changes(&mut catalogue, &[("x.yaml", &two)]);
    let mixed = broken_service("a") + "---\n" + &service("b", 3);
    let (changed, said) = look(&mut catalogue, scan(&[("x.yaml", &mixed)]));
    assert_eq!(changed, "+b:3");
    assert_eq!(
        said,
        ["x.yaml:4: Service default/a spec.portz: unknown field `portz` (did you mean `ports`?)"]
    );
    // Still so after a second edit; gone when the text is gone.
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &(mixed + "# more\n"))]), "");
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &service("b", 3))]), "-a");
    // At start there is no previous version.
    assert_eq!(changes(&mut Catalogue::default(), &[("x.yaml", &broken_service("a"))]), "");
}

#[test]
fn a_refused_object_without_a_name_keeps_what_its_file_had() {
    let mut catalogue = Catalogue::default();
    changes(&mut catalogue, &[("x.yaml", &(service("a", 1) + "---\n" + &service("b", 2)))]);
    let nameless = service("a", 3) + "---\napiVersion: v1\nkind: Service\nmetadata: {nam: b}\n";
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &nameless)]), "+a:3");
}

#[test]
fn duplicates_are_named_with_both_files_and_the_first_counts() {
    let mut catalogue = Catalogue::default();
    let twice = service("b", 1) + "---\n" + &service("b", 2);
    let (changed, said) = look(
        &mut catalogue,
        scan(&[("y.yaml", &service("a", 2)), ("x.yaml", &service("a", 1)), ("z.yaml", &twice)]),
    );
    assert_eq!(changed, "Service=a:1,b:1");
    assert_eq!(
        said,
        [
            "y.yaml:1: Service default/a : declared twice: x.yaml line 1 counts, y.yaml line 1 does not \
         (remove one of them)",
            "z.yaml:6: Service default/b : declared twice: z.yaml line 1 counts, z.yaml line 6 does not \
         (remove one of them)",
        ]
    );
    // The second takes over where the first goes, or is refused.
    let refused = broken_service("a");
    assert_eq!(changes(&mut catalogue, &[("y.yaml", &service("a", 2)), ("x.yaml", &refused)]), "-b +a:2");
    assert_eq!(changes(&mut catalogue, &[("y.yaml", &service("a", 2))]), "");
}

#[test]
fn what_the_api_server_would_refuse_keeps_its_previous_version() {
    let mut catalogue = Catalogue::default();
    let two = service("a", 1) + "---\n" + &service("b", 2);
    changes(&mut catalogue, &[("x.yaml", &two)]);
    let mixed = service("a", 70) + "---\n" + &service("b", 0);
    let (changed, said) = look(&mut catalogue, scan(&[("x.yaml", &mixed)]));
    assert_eq!(changed, "+a:70");
    assert_eq!(
        said,
        ["x.yaml:9: Service default/b spec.ports[0].port: 0 is no port (write a port from 1 to 65535)"]
    );
    assert_eq!(changes(&mut catalogue, &[("x.yaml", &two)]), "+a:1");
}

//! Whatever is written in annotations, reading them ends with a policy and remarks.

use super::*;

/// Of a key: what its documentation shows, that with something else in it, numbers at their ends, and anything.
fn value(example: &'static str) -> impl Strategy<Value = String> {
    const NUMBERS: &[&str] =
        &["0", "-1", "1", "99999h59m59s999ms", "18446744073709551616", "4294967296", "1e999", "0x10"];
    const WORDS: &[&str] =
        &["true", "false", "on", "off", "never", "*", "", " ", ",", "\u{0}", "null", "basic", "digest"];
    let cut = (0..=example.len(), "[ ,:/$*\\n0-9a-z\"{}()é]{0,4}").prop_map(move |(at, text)| {
        let at = (0..=at).rev().find(|at| example.is_char_boundary(*at)).unwrap_or(0);
        format!("{}{text}{}", &example[..at], &example[at..])
    });
    prop_oneof![
        3 => Just(example.to_owned()),
        3 => cut,
        2 => proptest::sample::select(NUMBERS).prop_map(str::to_owned),
        2 => proptest::sample::select(WORDS).prop_map(str::to_owned),
        1 => ".{0,40}",
    ]
}

fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let rows: Vec<_> = table().collect();
    let one =
        proptest::sample::select(rows).prop_flat_map(|row| (Just(row.key.to_owned()), value(row.example)));
    proptest::collection::btree_map(one.clone(), Just(()), 0..12).prop_map(|all| all.into_keys().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn no_combination_of_keys_panics(annotations in annotations(), nginx in any::<bool>()) {
        let reading = read(&annotations, &ingress(), nginx);
        for diagnostic in &reading.diagnostics {
            prop_assert!(!diagnostic.message.is_empty() && !diagnostic.remedy.is_empty(), "{:?}", diagnostic);
        }
        // What closes, or leaves out, is told.
        if reading.closed.is_some() || reading.left_out.is_some() {
            prop_assert!(reading.diagnostics.iter().any(|one| one.severity == Severity::Error), "{:?}", reading);
        }
        read_misplaced(&annotations, &ObjectRef::new("WsRoute", "default", "chat"), "set it in spec.policy");
    }
}

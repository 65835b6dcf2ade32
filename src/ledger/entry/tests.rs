//! Tests of the canonical form of entries.

use super::*;

fn sample() -> Entry {
    let inner = facts([("uid", "1.2.3".into()), ("id", 7.into())]);
    Entry {
        id: EntryId([0xAB; 16]),
        writer: "w".into(),
        kind: Kind::Received,
        at: 1_700_000_000_000_000,
        facts: facts([
            ("text", "a\"b\\c\u{1}\n\u{e9}/".into()),
            ("list", [Fact::from(1), Fact::from(-2)].into_iter().collect()),
            ("instance", inner.into()),
        ]),
        causes: vec![EntryId([1; 16])],
    }
}

#[test]
fn the_bytes_are_canonical_json() {
    let want = concat!(
        r#"{"at":1700000000000000,"causes":["01010101010101010101010101010101"],"#,
        r#""facts":{"instance":{"id":7,"uid":"1.2.3"},"list":[1,-2],"text":"a\"b\\c\u0001\né/"},"#,
        r#""id":"abababababababababababababababab","kind":"received","writer":"w"}"#
    );
    assert_eq!(String::from_utf8(sample().to_bytes()).unwrap(), want);
    assert_eq!(Entry::parse(want.as_bytes()), Ok(sample()));
}

#[test]
fn other_forms_of_the_same_facts_are_refused() {
    let canonical = String::from_utf8(sample().to_bytes()).unwrap();
    let rows = [
        canonical.replacen(":", ": ", 1),
        canonical.replace("é", "\\u00e9"),
        canonical.replace("\\u0001", "\\u0001x\\u0001").replace("x\\u0001", "\\u0002\\/"),
        canonical.replace("\"id\":7,\"uid\":\"1.2.3\"", "\"uid\":\"1.2.3\",\"id\":7"),
        canonical.replace("\"id\":7", "\"id\":7,\"id\":7"),
        canonical.replace("\"id\":7", "\"id\":07"),
        canonical.replace("[1,-2]", "[1,-2.0]"),
        canonical.replace("[1,-2]", "[1,null]"),
        canonical.replace("[1,-2]", "[1,9007199254740993]"),
        canonical.replace("[1,-2]", "[1,-9223372036854775808]"),
        canonical.replace("[1,-2]", "[1,18446744073709551615]"),
        canonical.replace("received", "unheard"),
        canonical.replace(r#""writer":"w""#, r#""writer":"w","x":1"#),
        format!("{canonical} "),
        String::new(),
    ];
    for row in rows {
        assert_ne!(row, canonical);
        assert!(Entry::parse(row.as_bytes()).is_err(), "{row}");
    }
}

#[test]
fn deep_nesting_is_refused_without_harm() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Entry::parse(deep.as_bytes()), Err(EntryError::NotAnEntry));
}

#[test]
fn identifiers_are_read_back_exactly() {
    let id = EntryId([9; 16]);
    assert_eq!(EntryId::parse(&id.to_string()), Some(id));
    for bad in ["", "09", "+9090909090909090909090909090909", "ABABABABABABABABABABABABABABABAB"] {
        assert_eq!(EntryId::parse(bad), None, "{bad}");
    }
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.word()), Some(kind));
    }
}

proptest::proptest! {
    #[test]
    fn any_text_and_number_come_back(text in ".*", number in proptest::num::i64::ANY) {
        let entry = Entry { facts: facts([("t", text.as_str().into()), ("n", number.into())]), ..sample() };
        proptest::prop_assert_eq!(Entry::parse(&entry.to_bytes()), Ok(entry));
    }
}

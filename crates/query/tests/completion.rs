//! Known completions; `|` is the cursor.

use netverdict_query::complete;

#[test]
fn known_completions() {
    for (text, expected) in [
        ("na|", "name namespace"),
        ("na| and zone=a", "name namespace"),
        (
            "zone=a and src.|",
            "src.ip src.kind src.name src.namespace src.node src.pod src.port",
        ),
        ("zone=a an|", "and "),
        ("zone=a |", "and  or "),
        ("(zone=a |", "and  or  )"),
        ("(zone=a|", ")"),
        ("zone=\"a b\"|", "and  or "),
        ("(zone=a) |", "and  or "),
        ("no|", "node not "),
        ("verdict|", "= != ~ !~  in "),
        ("verdict |", "= != ~ !~ in "),
        ("verdict !|", "!= !~"),
        ("port i|", "in"),
        ("verdict=|", "allowed delegated dropped rejected unknown"),
        ("verdict = d|", "delegated dropped"),
        ("verdict=dropped|", ""),
        ("verdict~|", ""),
        (
            "verdict in |",
            "allowed delegated dropped rejected unknown (",
        ),
        ("verdict in (dropped, r|", "rejected"),
        ("verdict in (dropped|", ",  )"),
        ("verdict in (dropped |", ",  )"),
        ("reply=|", "true false"),
        ("protocol=i|", "icmp igmp icmp6"),
        ("tcp_flags=a|", "ack"),
        ("time>|", "-5m -1h -1d now"),
        ("zone=|", ""),
        ("zone=\"|", ""),
        ("zone=\"a !|", ""),
        ("nmespace=|", ""),
        ("zone=a zo|", ""),
    ] {
        let cursor = text.find('|').unwrap();
        let found = complete(&text.replace('|', ""), cursor);
        let texts: Vec<_> = found.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts.join(" "), expected, "{text}");
    }
}

#[test]
fn an_empty_text_is_offered_all_fields() {
    let found = complete("", 0);
    for name in netverdict_query::Name::all() {
        assert!(
            found
                .iter()
                .any(|one| one.text == name.name && one.about == name.about)
        );
    }
    assert_eq!(complete("", 1), []);
    assert_eq!(complete("ü", 1), []);
}

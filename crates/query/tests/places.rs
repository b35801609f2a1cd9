//! What a wrong query is told, and where its carets stand.

use netverdict_query::{ErrorKind, MAX_BYTES, MAX_DEPTH, parse};

#[test]
fn messages_and_carets() {
    for (text, message, carets) in [
        (
            "nmespace=blue",
            "there is no field `nmespace`; did you mean `namespace`?",
            "^^^^^^^^",
        ),
        (
            "port=80 and destination.port=1",
            "there is no field `destination.port`; did you mean `dst.port`, `port` or `service.port`?",
            "            ^^^^^^^^^^^^^^^^",
        ),
        (
            "namespace=blue and verdict=droped",
            "`verdict` is never `droped`; did you mean `dropped`?",
            "                           ^^^^^^",
        ),
        (
            "protocol=tpc",
            "`protocol` is never `tpc`; did you mean `tcp`?",
            "         ^^^",
        ),
        (
            "dst.port=http",
            "`dst.port` cannot be `http`: it is a whole number from 0 to 65535",
            "         ^^^^",
        ),
        (
            "port in 8100..8000",
            "`port` cannot be `8100..8000`: the range ends before it begins",
            "        ^^^^^^^^^^",
        ),
        (
            "time in now..-5m",
            "`time` cannot be `now..-5m`: the range ends before it begins",
            "        ^^^^^^^^",
        ),
        (
            "port=1..2",
            "`port` cannot be `1..2`: a range stands behind `in`",
            "     ^^^^",
        ),
        (
            "ip=10.0.0.0/8",
            "`ip` cannot be `10.0.0.0/8`: an address block stands behind `in`",
            "   ^^^^^^^^^^",
        ),
        (
            "ip in 10.0.0.0/33",
            "`ip` cannot be `10.0.0.0/33`: it is an address or a block, such as 10.0.0.1, 10.0.0.0/8 or fd00::/64",
            "      ^^^^^^^^^^^",
        ),
        (
            "time>yesterday",
            "`time` cannot be `yesterday`: it is a time, such as 2026-11-23T08:15:30Z, -5m, -1h30m or now",
            "     ^^^^^^^^^",
        ),
        (
            "probability<2",
            "`probability` cannot be `2`: it is a share from 0 to 1, such as 0.01 or 1%",
            "            ^",
        ),
        (
            "pod=/web",
            "`pod` cannot be `/web`: it is a name, or a namespace and a name with / between them",
            "    ^^^^",
        ),
        (
            "acl.uuid=1f2e",
            "`acl.uuid` cannot be `1f2e`: it is a UUID; for its start use `~` and `*`, as in acl.uuid~1f2e3d4c*",
            "         ^^^^",
        ),
        (
            "tcp_flags=syn+akc",
            "`tcp_flags` is never `syn+akc`",
            "          ^^^^^^^",
        ),
        (
            "port~80",
            "`port` cannot be compared with `~`; it knows = != < <= > >= in",
            "    ^",
        ),
        (
            "zone<a",
            "`zone` cannot be compared with `<`; it knows = != ~ !~ in",
            "    ^",
        ),
        ("zone==a", "expected `=`, found `==`", "    ^^"),
        (
            "zone=a && zone=b",
            "expected `and`, `or` or the end, found `&&` (write `and`)",
            "       ^^",
        ),
        ("zone=a || zone=b", "expected `or`, found `||`", "       ^^"),
        (
            "zone=a | by zone",
            "expected `and`, `or` or the end, found `|` (write `or`)",
            "       ^",
        ),
        (
            "zone=a zone=b",
            "expected `and`, `or` or the end, found `zone`",
            "       ^^^^",
        ),
        (
            "zone=a and",
            "expected a field, `not` or `(`, found the end",
            "          ^",
        ),
        (
            "zone=",
            "expected a value for `zone`, found the end",
            "     ^",
        ),
        (
            "zone= and zone=b",
            "expected a value for `zone`, found `and`",
            "      ^^^",
        ),
        (
            "zone",
            "expected = != ~ !~ in after `zone`, found the end",
            "    ^",
        ),
        (
            "zone not in (a)",
            "expected = != ~ !~ in after `zone` (write `not zone in …`), found `not`",
            "     ^^^",
        ),
        (
            "zone=(a, b)",
            "expected a value (write `zone in (…)` for several), found `(`",
            "     ^",
        ),
        (
            "zone in (a b)",
            "expected `,` or `)`, found `b`",
            "           ^",
        ),
        (
            "zone in (a",
            "the parenthesis is not closed: add )",
            "        ^",
        ),
        (
            "(zone=a or zone=b",
            "the parenthesis is not closed: add )",
            "^",
        ),
        (
            "zone=a)",
            "expected `and`, `or` or the end, found `)`",
            "      ^",
        ),
        ("zone=\"a", "the quoted text has no end: add \"", "     ^"),
        (
            "zone=\"ü\\d\"",
            "there is no escape `\\d`; write \\\\ for a backslash, or \\\" \\' \\n \\r \\t",
            "       ^^",
        ),
        ("!zone=a", "expected `not`, `!=` or `!~`, found `!`", "^"),
        (
            "zone=a\u{0}",
            "expected a word, found the character \\u{0}",
            "      ^",
        ),
        (
            "zone='ü€' andd x=y",
            "expected `and`, `or` or the end, found `andd`",
            "          ^^^^",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        let report = error.report().to_string();
        let lines: Vec<_> = report.lines().collect();
        let shown = text.replace(char::is_control, " ");
        assert_eq!(lines[1], format!("  {}", shown.trim_end()), "{text}");
        assert_eq!(lines[2], format!("  {carets}"), "{text}");
    }
}

#[test]
fn reports_name_what_exists() {
    let report = parse("verdict=yes").unwrap_err().report().to_string();
    assert_eq!(
        report,
        "`verdict` is never `yes`\n  verdict=yes\n          ^^^\n  values: allowed delegated dropped rejected unknown"
    );
    let report = parse("quux=1").unwrap_err().report().to_string();
    for name in netverdict_query::Name::all() {
        assert!(
            report.split_whitespace().any(|word| word
                == name
                    .name
                    .trim_start_matches("egress.")
                    .trim_start_matches("ingress.")),
            "{report}"
        );
    }
}

#[test]
fn long_texts_are_shown_around_the_place() {
    let text = format!(
        "{}bad=1 and {}zone=z",
        "zone=a and ".repeat(50),
        "zone=b or ".repeat(50)
    );
    let report = parse(&text).unwrap_err().report().to_string();
    let lines: Vec<_> = report.lines().collect();
    assert!(
        lines[1].starts_with("  …") && lines[1].ends_with('…'),
        "{report}"
    );
    let start = lines[2].find('^').unwrap();
    let shown: String = lines[1].chars().skip(start).take(3).collect();
    assert_eq!(shown, "bad");
}

#[test]
fn nesting_has_a_limit() {
    for (open, close) in [("(", ")"), ("not ", ""), ("not (", ")")] {
        let levels = MAX_DEPTH / open.split_inclusive(' ').count();
        let nested = |count| format!("{}zone=a{}", open.repeat(count), close.repeat(count));
        let query = parse(&nested(levels)).unwrap();
        assert_eq!(parse(&query.to_string()).unwrap(), query);
        for count in [levels + 1, 100_000] {
            let error = parse(&nested(count)).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::TooDeep { limit: MAX_DEPTH });
            assert!(error.span().start <= 4 * MAX_DEPTH);
        }
    }
}

#[test]
fn length_has_a_limit() {
    let flat = "zone=a or ".repeat(MAX_BYTES / 10 - 1) + "zone=b";
    let query = parse(&flat).unwrap();
    assert_eq!(query.to_string(), flat);
    let long = " ".repeat(MAX_BYTES + 1);
    assert!(matches!(
        parse(&long).unwrap_err().kind(),
        ErrorKind::TooLong { bytes, limit } if *bytes == MAX_BYTES + 1 && *limit == MAX_BYTES
    ));
    for hostile in [
        "x",
        "\"",
        "(",
        "!",
        "zone=\"\\",
        "zone in (a,",
        "verdict=",
        "é",
    ] {
        let text = hostile.repeat(MAX_BYTES / hostile.len());
        let error = parse(&text).unwrap_err();
        assert!(error.report().to_string().len() < 4_000);
    }
}

use netverdict_query::{Field, Record, Value, complete, parse};
use netverdict_types::Timestamp;

/// What must hold for any text; the fuzz target and the corpus test share it.
pub fn check(text: &str) {
    match parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            assert_eq!(parse(&printed).as_ref(), Ok(&query), "{printed}");
            let plan = query.plan(Timestamp(0));
            let holds = plan.matches(&Empty);
            if let Ok(negated) = parse(&format!("not ({text})"))
                && !query.is_all()
            {
                assert_ne!(negated.plan(Timestamp(0)).matches(&Empty), holds);
            }
        }
        Err(error) => {
            assert!(text.get(error.span()).is_some());
            assert!(error.report().to_string().contains('^'));
        }
    }
    for cursor in [text.len() / 2, text.len()] {
        for found in complete(text, cursor) {
            let completed = format!("{}{}", &text[..found.range.start], found.text);
            if let Err(error) = parse(&completed) {
                assert!(error.is_incomplete(), "{}", error.report());
            }
        }
    }
}

struct Empty;

impl Record for Empty {
    fn value(&self, _: Field) -> Value<'_> {
        Value::Missing
    }
}

use netverdict_query::{Field, Grammar, Question, Record, Value, complete, complete_with, parse};
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
    match Question::parse(text) {
        Ok(question) => {
            let printed = question.to_string();
            assert_eq!(
                Question::parse(&printed).as_ref(),
                Ok(&question),
                "{printed}"
            );
            let ask = question.ask(Timestamp(0), Timestamp::MIN, Timestamp::MAX);
            assert_eq!(ask.check(), Ok(()));
        }
        Err(error) => {
            assert!(text.get(error.span()).is_some());
            assert!(error.report().to_string().contains('^'));
        }
    }
    // In the middle as a query, at the end as a question; of many fields a few will do.
    let found = complete(text, text.len() / 2);
    for found in found.iter().step_by(1 + found.len() / 8) {
        let completed = format!("{}{}", &text[..found.range.start], found.text);
        if let Err(error) = parse(&completed) {
            assert!(error.is_incomplete(), "{}", error.report());
        }
    }
    let found = complete_with(text, text.len(), Grammar::Question, |_, _| Vec::new());
    for found in found.iter().step_by(1 + found.len() / 8) {
        let completed = format!("{}{}", &text[..found.range.start], found.text);
        if let Err(error) = Question::parse(&completed) {
            assert!(error.is_incomplete(), "{}", error.report());
        }
    }
}

struct Empty;

impl Record for Empty {
    fn value(&self, _: Field) -> Value<'_> {
        Value::Missing
    }
}

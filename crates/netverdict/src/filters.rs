//! The query of a command: its text and its filter flags, in their order.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use netverdict_query::flags::{self, Argument, Flag};
use netverdict_query::{Query, Question};

/// QUERY, and `--namespace`, `--to-port`, `--not` and the like; with `GROUPS`, what stands behind
/// `|` too.
#[derive(Clone, Debug)]
pub(crate) struct Filters<const GROUPS: bool = false> {
    question: Question,
}

impl Filters {
    /// Both together: what the text and all flags select.
    pub(crate) fn query(&self) -> &Query {
        self.question.filter()
    }
}

impl Filters<true> {
    /// Both together: what the text and all flags ask.
    pub(crate) fn question(&self) -> &Question {
        &self.question
    }
}

const HEADING: &str = "Filters";

impl<const GROUPS: bool> Args for Filters<GROUPS> {
    fn augment_args(command: Command) -> Command {
        let query = Arg::new("query").value_name("QUERY").help(match GROUPS {
            true => {
                "What to show, as in 'namespace=blue and not verdict=allowed'; with | by FIELD, \
                     | count by FIELD top N and the like what it comes to, at the end"
            }
            false => "What to show, as in 'namespace=blue and not verdict=allowed'",
        });
        let not = Arg::new("not")
            .long("not")
            .num_args(0)
            .default_missing_value("true")
            .action(ArgAction::Append)
            .help_heading(HEADING)
            .help("Turn the filter behind this flag around");
        let flags = Flag::ALL.map(|flag| {
            Arg::new(flag.as_str())
                .long(flag.as_str())
                .value_name("VALUE")
                .action(ArgAction::Append)
                .help_heading(HEADING)
                .help(flag.about())
        });
        command.arg(query).args(flags).arg(not)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const GROUPS: bool> FromArgMatches for Filters<GROUPS> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let wrong = |text: String| clap::Error::raw(ErrorKind::ValueValidation, text);
        let text = matches.get_one::<String>("query");
        let text = text.map_or("", String::as_str);
        let question = match GROUPS {
            true => Question::parse(text),
            false => netverdict_query::parse(text).map(Question::from),
        };
        let question = question.map_err(|error| wrong(format!("{}\n", error.report())))?;
        let mut arguments: Vec<(usize, Argument)> = Vec::new();
        for flag in Flag::ALL {
            let places = matches.indices_of(flag.as_str()).into_iter().flatten();
            let values = matches
                .get_many::<String>(flag.as_str())
                .into_iter()
                .flatten();
            arguments.extend(
                places
                    .zip(values)
                    .map(|(place, value)| (place, Argument::Filter(flag, value.clone()))),
            );
        }
        let nots = matches.indices_of("not").into_iter().flatten();
        arguments.extend(nots.map(|place| (place, Argument::Not)));
        arguments.sort_by_key(|(place, _)| *place);
        let arguments: Vec<Argument> = arguments.into_iter().map(|(_, one)| one).collect();
        let flags = flags::query(&arguments).map_err(|error| wrong(format!("{error}\n")))?;
        Ok(Self {
            question: question.and(flags),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filters: Filters,
    }

    fn query(line: &[&str]) -> String {
        let line = Line::parse_from([&["netverdict"], line].concat());
        line.filters.query().to_string()
    }

    #[test]
    fn flags_and_text_make_one_query_in_their_order() {
        assert_eq!(
            query(&[
                "--pod",
                "a",
                "--not",
                "--port",
                "80",
                "--pod",
                "b",
                "verdict=dropped"
            ]),
            netverdict_query::parse("verdict=dropped and (pod=a or pod=b) and not port=80")
                .unwrap()
                .to_string()
        );
    }

    #[test]
    fn a_wrong_query_is_shown_with_its_place() {
        let Err(error) = Line::try_parse_from(["netverdict", "nmespace=blue"]) else {
            panic!("accepted");
        };
        let text = error.to_string();
        assert!(text.contains("^") && text.contains("namespace"), "{text}");
    }
}

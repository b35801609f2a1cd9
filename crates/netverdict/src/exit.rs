//! Exit codes that scripts can gate on.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Done {
    /// 0: done.
    Ok,
    /// 1: done, and what was found is told: something does not work.
    Failed,
    /// 2: what was asked for is not clear without a further argument.
    Usage,
    /// 3: dropped.
    Dropped,
    /// 3: verdicts change.
    Changed,
    /// 4: what was given does not tell.
    Unknown,
}

/// Wrong usage that only shows when the command runs: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The exit code of a command: 0 done, 1 failed, 2 wrong usage (mostly told by clap), 3 dropped or verdicts change, 4
/// cannot know.
///
/// Output to a closed pipe ends quietly.
pub(crate) fn code(result: Result<Done, Error>) -> ExitCode {
    match result {
        Ok(Done::Ok) => ExitCode::SUCCESS,
        Ok(Done::Failed) => ExitCode::FAILURE,
        Ok(Done::Usage) => ExitCode::from(2),
        Ok(Done::Dropped | Done::Changed) => ExitCode::from(3),
        Ok(Done::Unknown) => ExitCode::from(4),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("{error:#}"));
            match error.is::<Usage>() {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// A line on standard error. Where nobody reads that any more, nothing is lost by it.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "netverdict: {line}");
}

fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        let of_io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let of_json = || cause.downcast_ref::<serde_json::Error>()?.io_error_kind();
        of_io.or_else(of_json) == Some(io::ErrorKind::BrokenPipe)
    })
}

//! Exit codes that scripts can gate on.

use std::io;
use std::process::ExitCode;

use anyhow::Error;

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Done {
    /// 0: done.
    Ok,
    /// 1: done, and what was found is told: something does not work.
    Failed,
}

/// The exit code of a command: 0 done, 1 failed, 2 wrong usage (told by clap).
///
/// Output to a closed pipe ends quietly.
pub(crate) fn code(result: Result<Done, Error>) -> ExitCode {
    match result {
        Ok(Done::Ok) => ExitCode::SUCCESS,
        Ok(Done::Failed) => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "this is where errors are told")]
            {
                eprintln!("netverdict: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

use netverdict_ovsdb::{Client, RefusalKind, TransactError};

use crate::plan::Plan;

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody changed the rows since the plan was made; nothing was written. A new plan, from
    /// the rows as they are now, may succeed.
    #[error("the rows changed while the plan was made, nothing was written: {0}")]
    Changed(TransactError),
    /// The server would not have it, or it is not known whether it was done.
    #[error(transparent)]
    Transact(TransactError),
}

/// Carries out a plan in one transaction and returns what undoes it. An empty plan asks nothing
/// of the server.
///
/// # Errors
/// If the rows changed meanwhile, or the server refuses.
pub async fn commit(client: &mut Client, plan: &Plan) -> Result<Plan, CommitError> {
    if plan.is_empty() {
        return Ok(plan.clone());
    }
    let reply = client
        .transact(plan.transaction())
        .await
        .map_err(|error| match &error {
            TransactError::Refused(refusal) if is_change(&refusal.kind) => {
                CommitError::Changed(error)
            }
            _ => CommitError::Transact(error),
        })?;
    Ok(plan.inverse(|row| reply.uuid(row).unwrap_or(row)))
}

/// What a server answers when a row is not as expected (`wait`), an index is taken, or a row
/// that is to go is referred to again.
fn is_change(kind: &RefusalKind) -> bool {
    matches!(
        kind,
        RefusalKind::TimedOut
            | RefusalKind::ConstraintViolation
            | RefusalKind::ReferentialIntegrityViolation
    )
}

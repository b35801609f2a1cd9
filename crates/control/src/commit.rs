use netverdict_ovsdb::{Client, RefusalKind, TransactError, Transaction};

use crate::plan::Plan;

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody changed the rows since the plan was made; nothing was written. The client's
    /// replica shows the change: a new plan may succeed.
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
    let reply = match client.transact(plan.transaction()).await {
        Ok(reply) => reply,
        Err(TransactError::Refused(refusal)) if is_change(&refusal.kind) => {
            // The server tells changes before it answers the next request (ovsdb-server's
            // jsonrpc-server.c flushes monitors first), so after this the replica has them. If
            // the connection is lost, the next attempt says so.
            let _answered = client.transact(Transaction::new()).await;
            return Err(CommitError::Changed(TransactError::Refused(refusal)));
        }
        Err(error) => return Err(CommitError::Transact(error)),
    };
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

//! Sample and history make a decision.

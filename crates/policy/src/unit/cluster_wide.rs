use super::Context;

pub(super) fn compile(_cx: &mut Context<'_>) {}

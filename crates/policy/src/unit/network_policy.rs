use netverdict_manifest::Key;

use super::Context;

pub(super) fn compile(_key: &Key, _cx: &mut Context<'_>) {}

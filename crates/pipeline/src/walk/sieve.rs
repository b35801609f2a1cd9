//! Matches that cannot hold because of the packet's ports, told from their text: most matches on a large switch are for other ports' groups, and
//! to parse them all would be most of the work for one packet.

use std::cell::OnceCell;

use hashbrown::HashSet;

use crate::{Lport, Northbound, State};

/// The port groups that the ports of a packet are in.
#[derive(Debug, Default)]
pub(super) struct Sieve<'a> {
    inport: OnceCell<HashSet<&'a str>>,
    outport: OnceCell<HashSet<&'a str>>,
}

impl<'a> Sieve<'a> {
    /// True only if the match cannot hold for the packet, or cannot be parsed.
    pub(super) fn rejects(&self, text: &str, state: &State, northbound: &'a Northbound) -> bool {
        let fields = [
            ("inport == ", &self.inport, state.inport),
            ("outport == ", &self.outport, state.outport),
        ];
        fields.into_iter().any(|(field, cell, port)| {
            let Some(at) = place(text, field) else {
                return false;
            };
            let name = text.get(at + field.len() + 1..).unwrap_or_default();
            let is_end = |letter: char| !(letter.is_ascii_alphanumeric() || "_.".contains(letter));
            let name = name.split(is_end).next().unwrap_or_default();
            let groups = cell.get_or_init(|| groups_of(northbound, port));
            !groups.contains(name) && is_needed(text, at)
        })
    }
}

/// Where a field is compared with a port group: not within a longer word.
fn place(text: &str, field: &str) -> Option<usize> {
    let groups = text.match_indices('@');
    let mut before = groups.filter_map(|(at, _)| text.get(..at)?.strip_suffix(field));
    let before = before.next()?;
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
    (!before.ends_with(is_word)).then_some(before.len())
}

fn groups_of(northbound: &Northbound, port: Lport) -> HashSet<&str> {
    let Some(row) = northbound.port(port).filter(|_| port != Lport::NONE) else {
        return HashSet::new();
    };
    let groups = northbound.groups.values();
    groups
        .filter(|group| group.ports.contains(&row.uuid))
        .map(|group| group.name.as_str())
        .collect()
}

/// Whether the whole match fails if the comparison at this place does: no `||` is beside it or around it, and no `!` before that.
fn is_needed(text: &str, at: usize) -> bool {
    let mut special = text.bytes().filter(|byte| b"|!\"".contains(byte));
    let Some(first) = special.next() else {
        return true;
    };
    if first == b'"' || special.any(|byte| byte == b'"') {
        return false;
    }
    // For each parenthesis around the place that is still open: whether it is negated.
    let mut around = Vec::new();
    let mut last = ' ';
    let mut letters = text.char_indices();
    // Whether there is an `||` so far in each of the groups that are open, the whole text being the first.
    let mut choices = vec![false];
    for (place, letter) in letters.by_ref() {
        if place >= at {
            break;
        }
        match letter {
            '(' => {
                around.push(last == '!');
                choices.push(false);
            }
            ')' => {
                around.pop();
                choices.pop();
                if choices.is_empty() {
                    return false;
                }
            }
            '|' => {
                if let Some(choice) = choices.last_mut() {
                    *choice = true;
                }
            }
            _ => {}
        }
        if !letter.is_ascii_whitespace() {
            last = letter;
        }
    }
    if last == '!' || around.contains(&true) || choices.contains(&true) {
        return false;
    }
    // Behind the place: an `||` counts only in a group that is around it.
    let mut inner = 0_usize;
    for letter in text.get(at..).unwrap_or_default().chars() {
        match letter {
            '(' => inner += 1,
            ')' => inner = inner.saturating_sub(1),
            '|' if inner == 0 => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_hold_is_needed() {
        let needed = |text: &str| is_needed(text, text.find("outport").unwrap_or_default());
        for text in [
            "outport == @a",
            "reg0[7] == 1 && (ip4.src == {$x} && outport == @a && tcp)",
            "(ip4.src == $x || ip6.src == $y) && outport == @a",
            "outport == @a && ((ip4.src == $x || ip6.src == $y)) && tcp",
            "!ct.new && outport == @a",
        ] {
            assert!(needed(text), "{text}");
        }
        for text in [
            "outport == @a || tcp",
            "tcp || outport == @a",
            "(tcp && (outport == @a && udp)) || ip",
            "ip || (tcp && outport == @a)",
            "!(tcp && outport == @a)",
            "!(outport == @a)",
            "! (udp && (outport == @a))",
            "inport == \"x outport == @a\"",
        ] {
            assert!(!needed(text), "{text}");
        }
        assert_eq!(place("xinport == @a", "inport == @"), None);
    }
}

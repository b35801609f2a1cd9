//! Differences of two texts, as `diff -u` shows them.

use std::fmt::Write as _;

/// Lines around a change.
const CONTEXT: usize = 3;
/// Lines that are compared one by one; longer changes are shown as a whole.
const MOST: usize = 2000;

/// A line of one text or of both.
#[derive(Clone, Copy)]
enum Line<'t> {
    Same(&'t str),
    Old(&'t str),
    New(&'t str),
}

/// The change from one text to another, for `patch -p1`; of an absolute path where `/` is.
pub(super) fn unified(name: &str, old: &str, new: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = compare(&a, &b);
    let name = name.trim_start_matches('/');
    let mut out = format!("--- a/{name}\n+++ b/{name}\n");
    let is_same = |line: &Line<'_>| matches!(line, Line::Same(_));
    let mut at = 0;
    let (mut old_line, mut new_line) = (1, 1);
    let mut shown = 0;
    while let Some(next) = lines.iter().skip(at).position(|line| !is_same(line)) {
        let first = (at + next).saturating_sub(CONTEXT).max(shown);
        // A change ends where more lines are the same than two contexts show.
        let mut end = at + next;
        let mut quiet = 0;
        for (number, line) in lines.iter().enumerate().skip(end) {
            quiet = if is_same(line) { quiet + 1 } else { 0 };
            if quiet == 0 {
                end = number + 1;
            }
            if quiet > 2 * CONTEXT {
                break;
            }
        }
        let last = (end + CONTEXT).min(lines.len());
        for line in lines.iter().take(first).skip(shown) {
            let (old, new) = counts(line);
            old_line += old;
            new_line += new;
        }
        let hunk: Vec<&Line<'_>> = lines.iter().take(last).skip(first).collect();
        let (old, new) = hunk
            .iter()
            .map(|line| counts(line))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let _ = writeln!(out, "@@ -{old_line},{old} +{new_line},{new} @@");
        for line in hunk {
            let _ = match line {
                Line::Same(text) => writeln!(out, " {text}"),
                Line::Old(text) => writeln!(out, "-{text}"),
                Line::New(text) => writeln!(out, "+{text}"),
            };
        }
        old_line += old;
        new_line += new;
        at = last;
        shown = last;
    }
    out
}

/// How many lines it is in the old and in the new text.
fn counts(line: &Line<'_>) -> (usize, usize) {
    match line {
        Line::Same(_) => (1, 1),
        Line::Old(_) => (1, 0),
        Line::New(_) => (0, 1),
    }
}

fn compare<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<Line<'t>> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.split_at(start).1, new.split_at(start).1);
    let end = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (old_mid, tail) = old_rest.split_at(old_rest.len() - end);
    let new_mid = new_rest.split_at(new_rest.len() - end).0;
    let mut lines: Vec<Line<'t>> = old
        .iter()
        .take(start)
        .map(|line| Line::Same(line))
        .collect();
    if old_mid.len().max(new_mid.len()) > MOST {
        lines.extend(old_mid.iter().map(|line| Line::Old(line)));
        lines.extend(new_mid.iter().map(|line| Line::New(line)));
    } else {
        middle(old_mid, new_mid, &mut lines);
    }
    lines.extend(tail.iter().map(|line| Line::Same(line)));
    lines
}

/// By the longest sequence of lines that both have.
fn middle<'t>(old: &[&'t str], new: &[&'t str], lines: &mut Vec<Line<'t>>) {
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = match a == b {
                true => at(&common, i + 1, j + 1) + 1,
                false => at(&common, i + 1, j).max(at(&common, i, j + 1)),
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(Line::Same(a));
                i += 1;
                j += 1;
            }
            (Some(a), b) if b.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                lines.push(Line::Old(a));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(Line::New(b));
                j += 1;
            }
            (_, None) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_changes_far_apart_are_two_hunks() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n3\n", "\n3\nthree\n").replace("\n18\n", "\n");
        let expected = "--- a/f\n+++ b/f\n@@ -1,6 +1,7 @@\n 1\n 2\n 3\n+three\n 4\n 5\n 6\n\
                        @@ -15,6 +16,5 @@\n 15\n 16\n 17\n-18\n 19\n 20\n";
        assert_eq!(unified("f", &old, &new), expected);
        assert_eq!(
            unified("/d/f", &old, &new),
            expected.replace("/f\n", "/d/f\n")
        );
    }
}

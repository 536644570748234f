//! The list of system calls as text, whose form is described at its top. It is read when duplex is
//! built, and becomes the table that the filter is made from: a container's start pays for neither
//! reading nor looking names up. The build script includes this file.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter, Write};

/// A group of calls with the same decision.
pub(crate) struct Group<'a> {
    decision: Decision<'a>,
    title: &'a str,
    calls: Vec<Call<'a>>,
}

enum Decision<'a> {
    Allow,
    /// The capability's name without CAP_.
    AllowWith(&'a str),
    Refuse,
    RefuseAsUnknown,
}

struct Call<'a> {
    number: u16,
    name: &'a str,
    condition: Option<Condition>,
}

/// The first number is the argument's.
enum Condition {
    OneOf(u8, Vec<u32>),
    NoneOf(u8, Vec<u32>),
    Lacks(u8, u32),
}

/// Reads the list.
///
/// # Errors
/// With the number of the first line that can't be read.
pub(crate) fn parse(text: &str) -> Result<Vec<Group<'_>>, String> {
    let mut groups: Vec<Group> = Vec::new();
    let mut names = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let failed = |what: &str| format!("line {}: {what}: {line}", index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let (decision, title) =
                header.split_once("] ").ok_or_else(|| failed("not [DECISION] TITLE"))?;
            let decision = parse_decision(decision).ok_or_else(|| failed("unknown decision"))?;
            groups.push(Group { decision, title, calls: Vec::new() });
            continue;
        }
        let group = groups.last_mut().ok_or_else(|| failed("a call outside of all groups"))?;
        let call = parse_call(line).ok_or_else(|| failed("not NUMBER NAME [if CONDITION]"))?;
        let refused = matches!(group.decision, Decision::Refuse | Decision::RefuseAsUnknown);
        if refused && call.condition.is_some() {
            return Err(failed("a condition where nothing is allowed"));
        }
        if *names.entry(call.number).or_insert(call.name) != call.name {
            return Err(failed("a number with two names"));
        }
        group.calls.push(call);
    }
    Ok(groups)
}

fn parse_decision(text: &str) -> Option<Decision<'_>> {
    match text {
        "allow" => Some(Decision::Allow),
        "refuse" => Some(Decision::Refuse),
        "refuse as unknown" => Some(Decision::RefuseAsUnknown),
        _ => text.strip_prefix("allow with CAP_").map(Decision::AllowWith),
    }
}

fn parse_call(line: &str) -> Option<Call<'_>> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let name = words.next()?;
    let condition = match words.next() {
        None => None,
        Some("if") => Some(parse_condition(&words.collect::<Vec<_>>())?),
        Some(_) => return None,
    };
    Some(Call { number, name, condition })
}

fn parse_condition(words: &[&str]) -> Option<Condition> {
    let (argument, rest) = words.split_first()?;
    let argument = argument.strip_prefix("arg")?.parse().ok().filter(|&number| number < 6)?;
    let numbers =
        |words: &[&str]| words.iter().map(|word| parse_number(word)).collect::<Option<Vec<_>>>();
    match rest {
        ["is", "not", values @ ..] if !values.is_empty() => {
            Some(Condition::NoneOf(argument, numbers(values)?))
        }
        ["is", values @ ..] if !values.is_empty() => {
            Some(Condition::OneOf(argument, numbers(values)?))
        }
        ["lacks", bits] => Some(Condition::Lacks(argument, parse_number(bits)?)),
        _ => None,
    }
}

fn parse_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The list as Rust, for `table.rs`: short, for a program that has it pays for what it touches.
pub(crate) fn source(groups: &[Group]) -> String {
    let mut text = String::from("pub(super) static GROUPS: &[Group] = &[\n");
    for Group { decision, title, calls } in groups {
        let numbers = calls.iter().filter(|call| call.condition.is_none());
        let numbers: Vec<u16> = numbers.map(|call| call.number).collect();
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "Group {{ decision: Decision::{decision}, title: {title:?}, calls: &{numbers:?}, \
             conditional: &["
        );
        for Call { number, condition, .. } in calls {
            if let Some(condition) = condition {
                let _ = write!(text, "({number}, Condition::{condition}), ");
            }
        }
        text.push_str("] },\n");
    }
    text.push_str("];\n\n#[cfg(test)]\npub(super) static NAMES: &[(u16, &str)] = &[\n");
    for Call { number, name, .. } in groups.iter().flat_map(|group| &group.calls) {
        let _ = writeln!(text, "({number}, {name:?}),");
    }
    text.push_str("];\n");
    text
}

impl Display for Decision<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => out.write_str("Allow"),
            Self::AllowWith(name) => write!(out, "AllowWith(Capability::{name})"),
            Self::Refuse => out.write_str("Refuse"),
            Self::RefuseAsUnknown => out.write_str("RefuseAsUnknown"),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(argument, values) => write!(out, "OneOf({argument}, &{values:?})"),
            Self::NoneOf(argument, values) => write!(out, "NoneOf({argument}, &{values:?})"),
            Self::Lacks(argument, bits) => write!(out, "Lacks({argument}, {bits})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn becomes_rust() {
        let text = "# why\n[allow] A \"title\"\n0 read\n41 socket if arg0 is not 38 0x28\n\n\
                    [allow with CAP_KILL] B\n1 a if arg1 is 1\n2 b if arg5 lacks 0x10\n[refuse] C\n";
        let groups = parse(text).unwrap_or_else(|error| panic!("{error}"));
        let table = source(&groups);
        for part in [
            "Decision::Allow, title: \"A \\\"title\\\"\"",
            "calls: &[0], conditional: &[(41, Condition::NoneOf(0, &[38, 40])), ]",
            "Decision::AllowWith(Capability::KILL)",
            "(1, Condition::OneOf(1, &[1])), (2, Condition::Lacks(5, 16)), ",
            "(41, \"socket\"),",
        ] {
            assert!(table.contains(part), "{part} is not in {table}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, what) in [
            ("0 read", "line 1: a call outside of all groups"),
            ("[allow]", "line 1: not [DECISION] TITLE"),
            ("[permit] A", "line 1: unknown decision"),
            ("[allow] A\nread", "line 2: not NUMBER NAME"),
            ("[allow] A\n-1 read", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read when", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read if", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read if arg6 is 1", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read if arg0 is", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read if arg0 is not", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read if arg0 is 0x100000000", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read if arg0 lacks 1 2", "line 2: not NUMBER NAME"),
            ("[allow] A\n0 read\n0 write", "line 3: a number with two names"),
            ("[refuse] A\n0 read if arg0 is 1", "line 2: a condition where nothing is allowed"),
        ] {
            let error = parse(text).err().unwrap_or_default();
            assert!(error.starts_with(what), "{text}: {error}");
        }
    }
}

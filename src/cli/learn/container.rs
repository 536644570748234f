//! `duplex learn container`: a container, looked at on its way.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::{Args, CONTAINER, verdict, wrapped};
use crate::learn::containers::{self, ContainerLesson, LESSONS};
use crate::learn::lesson::judge;

/// Runs it and returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.source || args.run.is_some() || args.check.is_some() || args.gdb.is_some() {
        return Err(format!(
            "lessons about containers have no guest: 'duplex learn {CONTAINER}' lists them, and \
             --answer answers one"
        )
        .into());
    }
    let Some(name) = &args.part else {
        list(args.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let lesson = containers::find(name).ok_or_else(|| {
        format!(
            "there is no lesson {name:?} about containers: 'duplex learn {CONTAINER}' lists them"
        )
    })?;
    if let Some(answer) = &args.answer {
        return verdict(judge(answer, lesson.answer), args.json);
    }
    let text = if args.json { as_json(lesson)? } else { as_text(lesson) };
    write!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    if json {
        let lessons: Vec<_> = (1..)
            .zip(&LESSONS)
            .map(|(number, it)| json!({"number": number, "name": it.name, "summary": it.summary}))
            .collect();
        serde_json::to_writer_pretty(&mut out, &lessons)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut table = crate::cli::table(&["", "LESSON", "WHAT IT SHOWS"]);
    for (number, lesson) in (1..).zip(&LESSONS) {
        let name = format!("{CONTAINER} {}", lesson.name);
        table.add_row([number.to_string(), name, lesson.summary.into()]);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The commands that show what the lesson is about, on any image.
fn commands(lesson: &ContainerLesson) -> Vec<String> {
    let until = lesson.until.iter();
    until.map(|step| format!("duplex run --container --until '{step}' IMAGE")).collect()
}

fn as_text(lesson: &ContainerLesson) -> String {
    let mut text = format!("{}\n\n{}\n", lesson.summary, wrapped(lesson.text));
    text += "Look, with any image or directory for IMAGE:\n    duplex run --container --explain IMAGE\n";
    for command in commands(lesson) {
        text += &format!("    {command}\n");
    }
    let question = wrapped(&format!("Question: {}", lesson.question));
    text + &format!("\n{question}    duplex learn {CONTAINER} {} --answer TEXT\n", lesson.name)
}

fn as_json(lesson: &ContainerLesson) -> serde_json::Result<String> {
    let value = json!({
        "lesson": lesson.name,
        "text": lesson.text,
        "commands": commands(lesson),
        "question": lesson.question,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

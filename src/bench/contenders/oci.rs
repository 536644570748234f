//! OCI runtimes: crun, runc and gVisor's runsc. Each starts the bundle that it proposes itself (`spec`), with
//! the image as its root, read-only, and the job's limits.

use std::fs;

use serde_json::{Value, json};

use super::called::{Called, refuse};
use super::program::{Program, missing};
use super::{Found, describe};
use crate::bench::contender::Job;
use crate::bench::results::Wall;
use crate::bench::workshop::{DATA, Workshop, write};

/// How long the kernel's scheduler looks at a share of processors, in microseconds: docker's.
const PERIOD: f64 = 100_000.0;

/// The file that says what a container is.
const CONFIG: &str = "config.json";

pub(super) fn crun(workshop: &Workshop) -> Found {
    find("crun", "crun", ("crun", "Debian's package crun"), &[], workshop)
}

pub(super) fn runc(workshop: &Workshop) -> Found {
    find("runc", "runc", ("runc", "Debian's package runc"), &[], workshop)
}

pub(super) fn runsc(workshop: &Workshop) -> Found {
    let program = ("runsc", "Debian's package runsc");
    find("runsc", "gVisor", program, &["--network=none"], workshop)
}

fn find(
    id: &'static str,
    name: &str,
    (program, package): (&str, &str),
    options: &'static [&'static str],
    workshop: &Workshop,
) -> Found {
    let wall = if id == "runsc" { Wall::Sandbox } else { Wall::Container };
    let mut described = describe(id, name, wall);
    let program = Program::find(program, package, &mut described)?;
    described.version = program.version(&["--version"]);
    let proposal = propose(&program, workshop, id).map_err(|why| missing(&described, why))?;
    let files = program.files();
    let (workshop, cleaned, cleaner) = (workshop.clone(), workshop.clone(), program.clone());
    Called::new(described, files, move |job, number| {
        refuse(job.net, "network of its own that reaches anything: engines set one up for it")?;
        let bundle = workshop.directory(bundle(id, number))?;
        let config = filled(proposal.clone(), job, &workshop);
        write(&bundle.join(CONFIG), config.to_string().as_bytes(), 0o600)?;
        let mut command = program.command();
        command.arg("--root").arg(workshop.directory(state(id))?).args(options);
        command.args(["run", "--bundle"]).arg(bundle).arg(workshop.name(number));
        Ok(command)
    })
    .cleaned(move |number| {
        let _ = fs::remove_dir_all(cleaned.place.join(bundle(id, number)));
        let name = cleaned.name(number);
        let state = cleaned.place.join(state(id));
        let is_left = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&name);
        // There is something only where a start was cut off.
        if fs::read_dir(&state).into_iter().flatten().flatten().any(|entry| is_left(&entry)) {
            let mut delete = cleaner.command();
            delete.arg("--root").arg(&state).args(["delete", "--force", &name]);
            let _ = delete.output();
        }
    })
    .found()
}

/// The directory of what a runtime knows of its containers.
fn state(id: &str) -> String {
    format!("{id}-state")
}

fn bundle(id: &str, number: u64) -> String {
    format!("{id}-{number}")
}

/// What the runtime proposes.
fn propose(program: &Program, workshop: &Workshop, id: &str) -> Result<Value, String> {
    let place = workshop.directory(format!("{id}-proposal"))?;
    let file = place.join(CONFIG);
    // From an earlier look.
    let _ = fs::remove_file(&file);
    let output = program.command().arg("spec").current_dir(&place).output();
    let output = output.map_err(|error| format!("{id} cannot be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{id} spec: {}: {}", output.status, said.trim()));
    }
    let text =
        fs::read(&file).map_err(|error| format!("{id} spec: {}: {error}", file.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{id} spec: {}: {error}", file.display()))
}

/// The container of a job.
fn filled(mut config: Value, job: &Job, workshop: &Workshop) -> Value {
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = job.argv.clone().into();
    config["root"] = json!({ "path": workshop.image, "readonly": true });
    if let (Some(data), Some(mounts)) = (&job.data, config["mounts"].as_array_mut()) {
        mounts.push(json!({
            "destination": DATA, "type": "bind", "source": data, "options": ["bind", "rw"],
        }));
    }
    if job.unlimited {
        return config;
    }
    let resources = &mut config["linux"]["resources"];
    if let Some(cpus) = job.cpus {
        #[allow(clippy::cast_possible_truncation, reason = "some processors' time in microseconds")]
        let quota = (cpus * PERIOD) as i64;
        resources["cpu"] = json!({ "quota": quota, "period": 100_000 });
    }
    if let Some(memory) = job.memory {
        resources["memory"] = json!({ "limit": memory });
    }
    if let Some(pids) = job.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_fills_what_a_runtime_proposes() {
        let workshop = Workshop {
            own: "/d".into(),
            duplex: "/d".into(),
            place: "/w".into(),
            image: "/w/image".into(),
            guest: None,
        };
        let proposal = json!({
            "process": { "terminal": true, "args": ["sh"] }, "mounts": [], "root": {},
            "linux": { "resources": { "devices": [] } },
        });
        let job = Job {
            argv: vec!["/bin/x".into()],
            cpus: Some(0.5),
            memory: Some(1 << 20),
            pids: Some(9),
            data: Some("/host".into()),
            ..Job::default()
        };
        let config = filled(proposal.clone(), &job, &workshop);
        assert_eq!(config["process"], json!({ "terminal": false, "args": ["/bin/x"] }));
        assert_eq!(config["root"], json!({ "path": "/w/image", "readonly": true }));
        assert_eq!(config["mounts"][0]["destination"], DATA);
        let resources = &config["linux"]["resources"];
        assert_eq!(resources["cpu"], json!({ "quota": 50_000, "period": 100_000 }));
        assert_eq!(
            (&resources["memory"]["limit"], &resources["pids"]["limit"]),
            (&json!(1 << 20), &json!(9))
        );
        let unlimited = filled(proposal, &Job { unlimited: true, ..job }, &workshop);
        assert_eq!(unlimited["linux"]["resources"], json!({ "devices": [] }));
    }
}

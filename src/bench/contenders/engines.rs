//! Container engines: podman, docker, and containerd's ctr. The last two have a daemon that must run.

use std::process::{Command, Stdio};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::called::{Called, refuse};
use super::program::{Program, missing};
use super::{Found, describe, dockers_words};
use crate::bench::contender::Job;
use crate::bench::results::Wall;
use crate::bench::workshop::{DATA, Workshop};

/// What podman limits by itself, and the most that it is given.
const LIMITS: [(&str, Resource, u64); 2] =
    [("nofile", Resource::RLIMIT_NOFILE, 1 << 20), ("nproc", Resource::RLIMIT_NPROC, 1000)];

pub(super) fn podman(workshop: &Workshop) -> Found {
    let mut described = describe("podman", "podman", Wall::Container);
    let program = Program::find("podman", "Debian's package podman", &mut described)?;
    described.version = program.version(&["--version"]);
    let (workshop, cleaner, cleaned) = (workshop.clone(), program.clone(), workshop.clone());
    Called::new(described, program.files(), move |job, number| {
        refuse(
            job.net,
            "network here: podman would leave a bridge and packet filters on this host",
        )?;
        let mut command = program.command();
        command.env("XDG_RUNTIME_DIR", workshop.directory("state")?);
        // Without systemd there is nobody else to ask for a control group.
        command.args(["--cgroup-manager", "cgroupfs", "run", "--rm"]);
        // Its own defaults are refused to whoever may not raise limits.
        for (name, resource, most) in LIMITS {
            if let Some(hard) = finite(resource) {
                let limit = hard.min(most);
                command.args(["--ulimit", &format!("{name}={limit}:{limit}")]);
            }
        }
        command.args(["--name", &workshop.name(number)]);
        docker_options(job, &mut command);
        command.arg("--rootfs").arg(&workshop.image).args(&job.argv);
        Ok(command)
    })
    .cleaned(move |number| {
        let mut remove = cleaner.command();
        remove.args(["rm", "--force", "--ignore", "--time", "0", &cleaned.name(number)]);
        let _ = remove.env("XDG_RUNTIME_DIR", cleaned.place.join("state")).output();
    })
    .found()
}

pub(super) fn docker(workshop: &Workshop) -> Found {
    let mut described = describe("docker", "Docker", Wall::Container);
    let program = Program::find("docker", "Debian's package docker.io", &mut described)?;
    described.version = program.version(&["version", "--format", "{{.Server.Version}}"]);
    if described.version.is_none() {
        let why = "docker is there, but its engine does not answer: systemctl start docker";
        return Err(missing(&described, why.into()));
    }
    let image = Image::import(&program, workshop).map_err(|why| missing(&described, why))?;
    let (workshop, cleaner, cleaned) = (workshop.clone(), program.clone(), workshop.clone());
    Called::new(described, program.files(), move |job, number| {
        let mut command = program.command();
        command.args(["run", "--rm", "--name", &workshop.name(number)]);
        docker_options(job, &mut command);
        command.arg(&image.name).args(&job.argv);
        Ok(command)
    })
    .cleaned(move |number| {
        let _ = cleaner.command().args(["rm", "--force", &cleaned.name(number)]).output();
    })
    .found()
}

pub(super) fn ctr(workshop: &Workshop) -> Found {
    let mut described = describe("ctr", "containerd's ctr", Wall::Container);
    let program = Program::find("ctr", "Debian's package containerd", &mut described)?;
    if program.version(&["version"]).is_none() {
        let why = "ctr is there, but containerd does not answer: systemctl start containerd";
        return Err(missing(&described, why.into()));
    }
    described.version = program.version(&["--version"]);
    let (workshop, cleaner, cleaned) = (workshop.clone(), program.clone(), workshop.clone());
    Called::new(described, program.files(), move |job, number| {
        refuse(job.net, "network of its own that reaches anything")?;
        refuse(job.pids.is_some() && !job.unlimited, "limit for the number of tasks")?;
        let mut command = program.command();
        command.args(["run", "--rm", "--rootfs", "--read-only"]);
        if let Some(data) = &job.data {
            let data = data.display();
            command.arg("--mount").arg(format!("type=bind,src={data},dst={DATA},options=rbind:rw"));
        }
        if let (Some(cpus), false) = (job.cpus, job.unlimited) {
            command.args(["--cpus", &cpus.to_string()]);
        }
        if let (Some(memory), false) = (job.memory, job.unlimited) {
            command.args(["--memory-limit", &memory.to_string()]);
        }
        command.arg(&workshop.image).arg(workshop.name(number)).args(&job.argv);
        Ok(command)
    })
    .cleaned(move |number| {
        let name = cleaned.name(number);
        let _ = cleaner.command().args(["task", "kill", "--signal", "KILL", &name]).output();
        let _ = cleaner.command().args(["container", "delete", &name]).output();
    })
    .found()
}

/// This process's own hard limit, where there is any.
fn finite(resource: Resource) -> Option<u64> {
    getrlimit(resource).ok().map(|(_, hard)| hard).filter(|hard| *hard != RLIM_INFINITY)
}

/// The options that docker and those who follow it have.
fn docker_options(job: &Job, command: &mut Command) {
    command.arg("--read-only");
    if !job.net {
        command.args(["--network", "none"]);
    }
    dockers_words::input_and_volume(job, command);
    dockers_words::limits(job, job.unlimited, command);
}

/// The image in docker's store; it is removed again.
struct Image {
    name: String,
    program: Program,
}

impl Image {
    fn import(program: &Program, workshop: &Workshop) -> Result<Self, String> {
        let name = format!("{}:bench", workshop.name(0));
        let failed = |error: std::io::Error| format!("the image cannot be imported: {error}");
        let mut import = program.command();
        import.args(["import", "-", &name]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = import.spawn().map_err(failed)?;
        if let Some(input) = child.stdin.take() {
            let mut archive = tar::Builder::new(input);
            let packed = archive.append_dir_all(".", &workshop.image);
            packed.and_then(|()| archive.finish()).map_err(failed)?;
        }
        let status = child.wait().map_err(failed)?;
        if !status.success() {
            return Err(format!("the image cannot be imported: docker import: {status}"));
        }
        Ok(Self { name, program: program.clone() })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.program.command().args(["rmi", "--force", &self.name]).output();
    }
}

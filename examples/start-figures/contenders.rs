//! Who is timed, and what each is called with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every one of them has the same program print.
pub(crate) const LINE: &str = "started\n";

/// Stands for a name that no other start has.
const NAME: &str = "{}";

/// One that starts a command.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    argv: Vec<String>,
    pub(crate) env: Vec<(&'static str, PathBuf)>,
}

impl Contender {
    fn new(name: &'static str, argv: &[&str]) -> Self {
        Self { name, argv: argv.iter().map(|part| (*part).to_owned()).collect(), env: Vec::new() }
    }

    /// The command line of a start.
    pub(crate) fn argv(&self, number: usize) -> Vec<String> {
        let name = format!("start-figures-{}-{number}", std::process::id());
        self.argv.iter().map(|part| part.replace(NAME, &name)).collect()
    }
}

/// All that are there, with one root file system for all, made at `place`.
pub(crate) fn contenders(duplex: &Path, place: &Path) -> Vec<Contender> {
    let root = place.join("root");
    let busybox = root.join("bin/busybox");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", &busybox).expect("busybox-static is installed (make packages)");
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    let state = place.join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let [busybox, root_text, duplex] = [&busybox, &root, duplex].map(|path| path.to_str().unwrap());
    let command = ["/bin/busybox", "echo", "started"];

    let mut bare = Contender::new("fork and exec", &[busybox]);
    bare.argv.extend(command[1..].iter().map(|part| (*part).to_owned()));
    let mut all = vec![bare];
    let mut add = |name: &'static str, argv: &[&str]| {
        let there = argv[0].contains('/') || find_program(argv[0]);
        if there {
            all.push(Contender::new(name, argv));
        } else {
            eprintln!("SKIPPED: {name} is not installed");
        }
        there
    };
    let unshare = ["unshare", "-muinpf", "--mount-proc", busybox, "echo", "started"];
    add("unshare", &unshare);
    let ours = [&[duplex, "run", "--container", root_text], &command[..]].concat();
    add("duplex", &ours);
    for runtime in ["crun", "runc"] {
        if find_program(runtime) {
            let bundle = bundle(runtime, &root, place, &command);
            add(runtime, &[runtime, "run", "-b", bundle.to_str().unwrap(), NAME]);
        } else {
            eprintln!("SKIPPED: {runtime} is not installed");
        }
    }
    let options = "--cgroup-manager cgroupfs run --rm --network none --ulimit nofile=20000:20000 \
                   --ulimit nproc=1000:1000 --rootfs";
    let podman: Vec<&str> = ["podman"].into_iter().chain(options.split(' ')).collect();
    add("podman", &[&podman[..], &[root_text], &command[..]].concat());
    for contender in &mut all {
        contender.env.push(("XDG_RUNTIME_DIR", state.clone()));
    }
    all
}

/// What the runtime proposes (`spec`), with our root and command and without a terminal.
fn bundle(runtime: &'static str, root: &Path, place: &Path, command: &[&str]) -> PathBuf {
    let bundle = place.join(runtime);
    fs::create_dir(&bundle).unwrap();
    let made = Command::new(runtime).arg("spec").current_dir(&bundle).status().unwrap();
    assert!(made.success(), "{runtime} spec: {made}");
    let file = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = command.into();
    spec["root"]["path"] = root.to_str().unwrap().into();
    spec["root"]["readonly"] = false.into();
    fs::write(file, spec.to_string()).unwrap();
    bundle
}

fn find_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).exists())
}

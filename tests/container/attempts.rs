//! The attempts of examples/escape, with what holds each, and how that is taken away to see that the
//! attempt is real.

/// One of them.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// Options that it needs, with or without the wall. INSIDE is a directory that may be given away.
    pub(crate) options: &'static [&'static str],
    /// What holds it: each of several alone. A capability and the filter, which goes by it, count as one.
    pub(crate) held_by: &'static str,
    pub(crate) control: Control,
}

/// How the wall is taken away.
#[derive(Clone, Copy)]
pub(crate) enum Control {
    /// A container with these options, in pairs. Each takes away one of what holds it alone: without any of
    /// them it is held still.
    Options(&'static [&'static str]),
    /// No container, but a command of the shell, which finds the image at $ROOT and the target at $TARGET:
    /// unshare(1) makes the namespaces that remain.
    Shell(&'static str),
}

use Control::{Options, Shell};

const fn attempt(name: &'static str, held_by: &'static str, control: Control) -> Attempt {
    Attempt { name, options: &[], held_by, control }
}

/// The one that is about the terminal which duplex is called at.
pub(crate) const ON_TERMINAL: &str = "terminal-input";

const VOLUME: [&str; 2] = ["-v", "INSIDE:/given:ro"];

pub(crate) const ATTEMPTS: &[Attempt] = &[
    attempt("marker", "root of its own", Shell("unshare -UrmpfiunC $ROOT/bin/escape marker")),
    attempt(
        "process-roots",
        "PID namespace; user namespace",
        Shell(
            "unshare -miunC sh -c 'mount -t proc proc $ROOT/proc; \
             exec chroot $ROOT /bin/escape process-roots'",
        ),
    ),
    attempt("own-program", INIT, Options(&["--userns", "host", "--cap-add", "SYS_PTRACE"])),
    attempt(
        "leaked-descriptor",
        "all descriptors are closed",
        Shell("exec 9<$TARGET; exec unshare -UrmpfiunC chroot $ROOT /bin/escape leaked-descriptor"),
    ),
    attempt(
        "parent-directories",
        "pivot_root, and starting inside",
        Shell(
            "unshare -UrmpfiunC $ROOT/bin/escape in-root-only $ROOT /bin/escape parent-directories",
        ),
    ),
    attempt("chroot", "pivot_root", Shell("unshare -UrmpfiunC chroot $ROOT /bin/escape chroot")),
    Attempt {
        name: "file-handle",
        options: &VOLUME,
        held_by: "user namespace; capability DAC_READ_SEARCH; filter",
        control: Options(&["--userns", "host", "--cap-add", "DAC_READ_SEARCH"]),
    },
    attempt(
        "mknod",
        "user namespace; no devices in its root; without the former, its control group",
        Shell("unshare -mpfiunC $ROOT/bin/escape mknod"),
    ),
    Attempt {
        name: "volume-device",
        options: &VOLUME,
        held_by: "volumes have no devices",
        control: Shell(
            "mkdir -p /given; unshare -UrmpfiunC --propagation unchanged sh -c \
             'mount --bind $TARGET/inside /given; exec $ROOT/bin/escape volume-device'",
        ),
    },
    attempt(
        "kernel-memory",
        "user namespace; capability SYS_RAWIO; masked path",
        Options(&[
            "--userns",
            "host",
            "--cap-add",
            "SYS_RAWIO",
            "--security-opt",
            "systempaths=unconfined",
        ]),
    ),
    Attempt {
        name: "set-user-id",
        options: &["-u", "1000"],
        held_by: "no new privileges",
        control: Options(&["--security-opt", "no-new-privileges=false"]),
    },
    attempt("mount", "capability SYS_ADMIN; filter", Options(&["--cap-add", "SYS_ADMIN"])),
    attempt("unmask", "capability SYS_ADMIN; filter", Options(&["--cap-add", "SYS_ADMIN"])),
    attempt("core-pattern", "user namespace; read-only path", Options(&SYSTEM_PATHS)),
    attempt("sysctl", "user namespace; read-only path", Options(&SYSTEM_PATHS)),
    attempt("sysrq", "user namespace; read-only path", Options(&SYSTEM_PATHS)),
    attempt(
        "sys-write",
        "user namespace; read-only /sys, as SYS_ADMIN and the filter keep it",
        Options(&["--userns", "host", "--cap-add", "SYS_ADMIN"]),
    ),
    attempt(
        "release-agent",
        "user namespace; cgroup namespace; capability SYS_ADMIN; filter",
        Options(&["--userns", "host", "--cgroupns", "host", "--cap-add", "SYS_ADMIN"]),
    ),
    attempt(
        "own-limits",
        "user namespace; no control groups in sight, as SYS_ADMIN and the filter keep it",
        Options(&["--userns", "host", "--cap-add", "SYS_ADMIN"]),
    ),
    attempt("trace-init", INIT, Options(&["--userns", "host", "--cap-add", "SYS_PTRACE"])),
    attempt("init-memory", INIT, Options(&["--userns", "host", "--cap-add", "SYS_PTRACE"])),
    attempt(
        "init-descriptor",
        "PID 1 is not dumpable, and SYS_PTRACE counts in its user namespace alone; filter",
        Options(&["--userns", "host", "--cap-add", "SYS_PTRACE"]),
    ),
    attempt("signal", "PID namespace", Shell("unshare -UrmfiunC $ROOT/bin/escape signal")),
    attempt(
        "trace",
        "PID namespace; user namespace",
        Shell("unshare -miunC $ROOT/bin/escape trace"),
    ),
    attempt(
        "memory",
        "PID namespace; user namespace",
        Shell("unshare -miunC $ROOT/bin/escape memory"),
    ),
    attempt(
        "host-namespaces",
        "PID namespace; user namespace; capability SYS_ADMIN; filter",
        Shell(
            "unshare -miunC sh -c 'mount -t proc proc $ROOT/proc; \
             exec chroot $ROOT /bin/escape host-namespaces'",
        ),
    ),
    attempt("user-namespace", "filter", Options(&NO_FILTER)),
    attempt(
        ON_TERMINAL,
        "the caller's terminal stays outside",
        Shell("unshare -UrmpfiunC $ROOT/bin/escape terminal-input"),
    ),
    attempt(
        "kexec",
        "user namespace; capability SYS_BOOT; filter",
        Options(&[
            "--userns",
            "host",
            "--cap-add",
            "SYS_BOOT",
            "--security-opt",
            "seccomp=unconfined",
        ]),
    ),
    attempt(
        "load-module",
        "user namespace; capability SYS_MODULE; filter",
        Options(&["--userns", "host", "--cap-add", "SYS_MODULE"]),
    ),
    attempt(
        "keys",
        "user namespace; filter",
        Options(&["--userns", "host", "--security-opt", "seccomp=unconfined"]),
    ),
    attempt(
        "bpf",
        "user namespace; capability BPF; filter",
        Options(&["--userns", "host", "--cap-add", "BPF"]),
    ),
    attempt(
        "performance-events",
        "user namespace; capability PERFMON; filter",
        // Debian's kernel asks for this one.
        Options(&["--userns", "host", "--cap-add", "SYS_ADMIN"]),
    ),
    attempt("userfaultfd", "filter", Options(&NO_FILTER)),
    attempt("io-uring", "filter", Options(&NO_FILTER)),
    attempt(
        "io-ports",
        "user namespace; capability SYS_RAWIO; filter",
        Options(&["--userns", "host", "--cap-add", "SYS_RAWIO"]),
    ),
    attempt(
        "clock",
        "user namespace; capability SYS_TIME; filter",
        Options(&["--userns", "host", "--cap-add", "SYS_TIME"]),
    ),
    attempt(
        "kernel-log",
        "user namespace; capability SYSLOG; filter",
        Options(&["--userns", "host", "--cap-add", "SYSLOG"]),
    ),
    attempt("reboot", "capability SYS_BOOT; filter", Options(&["--cap-add", "SYS_BOOT"])),
    attempt(
        "abstract-socket",
        "network namespace",
        Shell("unshare -UrmpfiuC $ROOT/bin/escape abstract-socket"),
    ),
    attempt(
        "passed-descriptor",
        "network namespace",
        Shell("unshare -UrmpfiuC $ROOT/bin/escape passed-descriptor"),
    ),
    attempt("loopback", "network namespace", Shell("unshare -UrmpfiuC $ROOT/bin/escape loopback")),
    attempt("packets", "network namespace", Shell("unshare -mpfiuC $ROOT/bin/escape packets")),
    attempt("host-name", "UTS namespace", Shell("unshare -UrmpfinC $ROOT/bin/escape host-name")),
    attempt("segment", "IPC namespace", Shell("unshare -UrmpfunC $ROOT/bin/escape segment")),
    attempt("queue", "IPC namespace", Shell("unshare -UrmpfunC $ROOT/bin/escape queue")),
    attempt(
        "shared-memory",
        "a /dev/shm of its own",
        Shell("unshare -UrpfiunC $ROOT/bin/escape shared-memory"),
    ),
];

const INIT: &str = "PID 1 is not dumpable, and SYS_PTRACE counts in its user namespace alone";
const NO_FILTER: [&str; 2] = ["--security-opt", "seccomp=unconfined"];
const SYSTEM_PATHS: [&str; 4] = ["--userns", "host", "--security-opt", "systempaths=unconfined"];

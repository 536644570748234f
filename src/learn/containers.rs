//! Lessons about containers: there is no machine to be stepped, so each stops a container on its way, and asks
//! about what there is by then.

use super::lesson::{Verdict, names, number, right, wrong};

/// A lesson about containers.
#[derive(Debug)]
pub struct ContainerLesson {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// What to know, and what to look for.
    pub text: &'static str,
    /// The steps to stop behind, by a part of their names.
    pub until: &'static [&'static str],
    /// What it asks.
    pub question: &'static str,
    /// Checks an answer, in small letters.
    pub answer: fn(&str) -> Verdict,
}

/// The lessons, in the order in which a container is made.
pub static LESSONS: [ContainerLesson; 6] = [
    ContainerLesson {
        name: "namespaces",
        summary: "a container is a process with its own view of the system",
        text: "\
There is no object called container in Linux. There are namespaces: a process can have its own view of \
process numbers, mounts, networks, host names, and users. duplex makes a process in new ones by clone3(2), \
and this process is already half of a container. All of the host's mounts are still there to be seen.",
        until: &["let all signals"],
        question: "It is number 1 inside. Which namespace is that due to?",
        answer: |answer| {
            if names(answer, &["pid"]) {
                right("The PID namespace. On the host it has another number, as each process has.")
            } else if names(answer, &["user"]) {
                wrong("The user namespace is about who it is, not about its number.")
            } else {
                wrong("See the line `process`, and which of its own namespaces is about processes.")
            }
        },
    },
    ContainerLesson {
        name: "users",
        summary: "root inside, nobody outside",
        text: "\
In a user namespace the numbers of users mean something else. duplex maps 0 and on to numbers that nobody \
on this host has; then the process becomes user 0 there. It has all capabilities, but only over \
what belongs to its namespaces. Compare what is said of its user before and behind that step.",
        until: &["start the loopback", "become user 0"],
        question: "May root inside read /etc/shadow of the host, where it can see it?",
        answer: |answer| {
            if names(answer, &["no", "not", "cannot", "nobody"]) {
                right(
                    "On the host it is a user who owns nothing there, and other users may not read that.",
                )
            } else {
                wrong("Which user is it on this host? Does that user own the file?")
            }
        },
    },
    ContainerLesson {
        name: "root",
        summary: "another root directory, without a way back",
        text: "\
The image becomes the root by pivot_root(2): all that was mounted is moved below it and unmounted later. \
What is written goes to a layer in memory (overlayfs). chroot(2) would only change where paths begin.",
        until: &["become user 0", "make the layered image", "unmount the host"],
        question: "Of what kind is the file system that is the container's root?",
        answer: |answer| {
            if names(answer, &["overlay", "overlayfs"]) {
                right("An overlay: the image below, which stays as it is, and memory above.")
            } else if names(answer, &["tmpfs", "ext4", "memory"]) {
                wrong("That is what one of its layers lies in. Of what kind is the mount at `/`?")
            } else {
                wrong("Look at `mounts` behind the step that makes the image the root.")
            }
        },
    },
    ContainerLesson {
        name: "mounts",
        summary: "what programs expect to find, and what is kept from them",
        text: "\
Programs want /proc, /dev and /sys. They are new ones, which show what is in the container's namespaces; but \
some files in /proc are the kernel's, and there is but one kernel. Those are hidden behind something empty, or \
made read-only.",
        until: &["mount proc", "unmount the host", "make /tmp"],
        question: "May a process in it write to /proc/sys?",
        answer: |answer| {
            if !names(answer, &["yes"]) && names(answer, &["no", "not", "cannot"]) {
                right(
                    "It is mounted over itself, read-only: its switches are those of the whole kernel.",
                )
            } else {
                wrong("Look for /proc/sys among the mounts behind the last of these steps.")
            }
        },
    },
    ContainerLesson {
        name: "capabilities",
        summary: "root is divided into parts, and most are taken away",
        text: "\
What root may do is divided into some forty capabilities. Even over its own namespaces a container's root \
has use for few of them, and each is a way into code of the kernel that others never reach. What is not \
in the bounding set no program can get back.",
        until: &["start the clock", "leave commands"],
        question: "How many capabilities can what it executes have at most, by default?",
        answer: |answer| match number(answer) {
            Some(14) => {
                right("Docker's list, so that images made for docker find what they count on.")
            }
            Some(41) => {
                wrong("That is how many there are at all, before the step that takes them.")
            }
            _ => wrong("See the line `capabilities` behind the second of these steps."),
        },
    },
    ContainerLesson {
        name: "filter",
        summary: "fewer doors into the one kernel that all share",
        text: "\
The wall of a container is the kernel itself: whoever finds a mistake in a system call is through. So calls \
that programs have no use for are refused by a filter (seccomp), which each command is put behind (the last line of \
`--explain` counts them), and privileges can't be gained by executing something. A VM's wall is another: its guest may call its own kernel as it likes.",
        until: &["leave commands", "give up gaining"],
        question: "Which wall does a program have to break to reach the host: in a container, the kernel's system calls; in a VM?",
        answer: |answer| {
            let words = ["kvm", "hypervisor", "virtualization", "exits", "exit", "vmm", "duplex"];
            if names(answer, &words) {
                right(
                    "KVM and the devices of duplex: a few exits instead of hundreds of calls. What that \
                     costs, `duplex bench` measures.",
                )
            } else {
                wrong(
                    "What did the guests of the other lessons have to do to be noticed by duplex?",
                )
            }
        },
    },
];

/// The lesson of that name or number, from 1.
pub fn find(name: &str) -> Option<&'static ContainerLesson> {
    let number = name.parse::<usize>().ok();
    (1..)
        .zip(&LESSONS)
        .find(|(at, lesson)| lesson.name == name || Some(*at) == number)
        .map(|(_, it)| it)
}

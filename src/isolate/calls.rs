//! The system calls of a container's commands, followed by ptrace(2): its PID 1 is watched for new processes
//! only, and those stop at each call they make.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::trace::boot::monotonic;
use crate::trace::event::{Call, Event};
use crate::trace::ring::Writer;

/// The stack of the thread, in bytes.
const STACK: usize = 256 << 10;
/// A stop at a system call shows as this, with PTRACE_O_TRACESYSGOOD.
const AT_CALL: i32 = libc::SIGTRAP | 0x80;
const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_EXITKILL;

/// Whoever follows. It ends when PID 1 has.
pub(crate) struct Follower(JoinHandle<()>);

impl Follower {
    /// Follows what `first`, a child of this process, starts from now on, and puts its calls into `lane`.
    ///
    /// # Errors
    /// The kernel does not let this user trace it, or there is no thread left.
    pub(crate) fn start(first: Pid, lane: Writer) -> io::Result<Follower> {
        let (sender, seized) = mpsc::channel();
        let follow = move || {
            // Only the thread that seizes may wait and give orders.
            let result = request(libc::PTRACE_SEIZE, first, OPTIONS.into());
            let going = result.is_ok();
            // Whoever has started this waits for it.
            let _ = sender.send(result);
            if going {
                Following { first, lane, begun: HashMap::new() }.follow();
            }
        };
        let thread = thread::Builder::new().name("calls".into()).stack_size(STACK).spawn(follow)?;
        match seized.recv() {
            Ok(Ok(())) => Ok(Follower(thread)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Errno::ECHILD.into()),
        }
    }

    /// Waits until all calls are there: PID 1 has ended, or will.
    pub(crate) fn wait(self) {
        // One that panicked has said so.
        let _ = self.0.join();
    }
}

struct Following {
    first: Pid,
    lane: Writer,
    /// Calls that have not returned, by process.
    begun: HashMap<i32, Call>,
}

/// What became of a process.
enum Change {
    Stopped { signal: i32, event: i32 },
    Ended,
}

impl Following {
    fn follow(mut self) {
        while let Some((pid, change)) = self.next() {
            match change {
                Change::Ended => self.ended(pid),
                Change::Stopped { signal, event } => self.stopped(pid, signal, event),
            }
        }
    }

    /// The next change. `None`: PID 1 has ended, which somebody else is to hear from the kernel.
    fn next(&self) -> Option<(Pid, Change)> {
        let kinds = libc::WEXITED | libc::WSTOPPED | libc::__WALL | libc::__WNOTHREAD;
        // SAFETY: the struct is made of integers and pointers, for which zero is a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: the kernel writes one struct to the live value that is passed.
            let waited = Errno::result(unsafe {
                libc::waitid(libc::P_ALL, 0, &raw mut info, kinds | libc::WNOWAIT)
            });
            match waited {
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
                Ok(_) => {}
            }
            // SAFETY: waitid has filled it for a child.
            let pid = Pid::from_raw(unsafe { info.si_pid() });
            let ended =
                matches!(info.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
            if ended && pid == self.first {
                return None;
            }
            let mut status = 0;
            // SAFETY: the status is alive.
            let taken = Errno::result(unsafe {
                libc::waitpid(pid.as_raw(), &raw mut status, libc::__WALL | libc::WNOHANG)
            });
            match taken {
                Ok(taken) if taken == pid.as_raw() => {}
                _ => continue,
            }
            let change = if libc::WIFSTOPPED(status) {
                Change::Stopped { signal: libc::WSTOPSIG(status), event: status >> 16 }
            } else {
                Change::Ended
            };
            return Some((pid, change));
        }
    }

    /// A call that did not return lasted until the end: exit_group(2), and what a signal has cut off.
    fn ended(&mut self, pid: Pid) {
        if let Some(call) = self.begun.remove(&pid.as_raw()) {
            self.put(call, 0);
        }
    }

    fn stopped(&mut self, pid: Pid, signal: i32, event: i32) {
        if pid == self.first {
            // It goes on without stops at its own calls; what it has started stops by itself.
            let passed_on = if event == 0 { signal } else { 0 };
            let _ = request(libc::PTRACE_CONT, pid, passed_on.into());
            return;
        }
        let is_group =
            matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        if event == libc::PTRACE_EVENT_STOP && is_group {
            // It was stopped by a signal, and stays so until it is let go on.
            let _ = request(libc::PTRACE_LISTEN, pid, 0);
            return;
        }
        let mut passed_on = 0;
        if event == 0 && signal == AT_CALL {
            self.at_call(pid);
        } else if event == 0 {
            passed_on = signal;
        }
        // Fails where it was killed meanwhile: then its end is the next to be heard.
        let _ = request(libc::PTRACE_SYSCALL, pid, passed_on.into());
    }

    fn at_call(&mut self, pid: Pid) {
        let now = monotonic();
        // SAFETY: the struct is made of integers, for which zero is a valid value.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::ptrace_syscall_info>();
        // SAFETY: the kernel writes no more than `size` bytes to the live value that is passed.
        let told = Errno::result(unsafe {
            libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid.as_raw(), size, &raw mut info)
        });
        if told.is_err() {
            return;
        }
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: for this kind it is the union's valid member.
                let entry = unsafe { info.u.entry };
                let [a, b, c, ..] = entry.args;
                let number = u32::try_from(entry.nr).unwrap_or(u32::MAX);
                let process = pid.as_raw().unsigned_abs();
                let arguments = [a, b, c];
                let call = Call { at: now, number, process, arguments, result: 0, took: 0 };
                self.begun.insert(pid.as_raw(), call);
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                // SAFETY: as above.
                let result = unsafe { info.u.exit.sval };
                if let Some(call) = self.begun.remove(&pid.as_raw()) {
                    self.put(call, result);
                }
            }
            _ => {}
        }
    }

    fn put(&self, call: Call, result: i64) {
        let took = monotonic().saturating_sub(call.at);
        self.lane.put(Event::Call(Call { result, took, ..call }).words());
    }
}

fn request(what: libc::c_uint, pid: Pid, data: libc::c_long) -> io::Result<()> {
    // SAFETY: none of these requests uses an address, or reads or writes this process' memory.
    Errno::result(unsafe { libc::ptrace(what, pid.as_raw(), 0_usize, data) })?;
    Ok(())
}

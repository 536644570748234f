//! Runs a guest an instruction at a time and writes down what each one did.
//!
//! All processors run on one thread and take turns: the same program has the same story each time. Exits that
//! only the stepping makes (KVM_EXIT_DEBUG after every instruction) are not part of it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use super::guest::{Error, Guest, Setup, TIME};
use super::happened;
use super::program::Program;
use super::steps::{Ending, Left, Record, Registers, Step};
use super::stops::{self, Next};
use super::walk::walk;
use crate::vm::control::{KickBlocked, forget_kick, kick_signal};
use crate::vm::devices::Action;
use crate::vm::exit::{self, Exit};
use crate::vm::report::Cause;

/// The most instructions that are executed: more is a loop without end.
pub const MOST_STEPS: usize = 5_000;
/// How often a guest that is late is told so.
const INSIST: Duration = Duration::from_millis(50);
/// How long it takes at most until a processor that is halted for good is known to be.
const HALTING: Duration = Duration::from_millis(10);
const RFLAGS_IF: u64 = 1 << 9;
/// The trap flag in the second byte of the flags.
const TRAP_FLAG: u8 = 1 << 0;
/// The local APIC's interrupt request register: 8 words.
const APIC_REQUESTS: std::ops::Range<usize> = 0x200..0x280;

/// Runs a program to its end, or to a bound in steps and time.
///
/// # Errors
/// What the host lacks.
pub fn run(program: &Program, setup: Setup) -> Result<Record, Error> {
    let host = |error: nix::Error| Error::Host(error.into());
    let _blocked = KickBlocked::new().map_err(host)?;
    let guest = Guest::new(program, setup)?;
    let memory = guest.snapshot();
    let (alarm, alarms) = mpsc::channel();
    let end = Instant::now() + TIME;
    let runner = Runner { guest, memory, steps: Vec::new(), setup, end, alarm };
    // SAFETY: a plain call.
    let this = unsafe { libc::pthread_self() };
    let record = thread::scope(|scope| {
        scope.spawn(move || watch(this, &alarms));
        // The alarm's sender is dropped with the runner, and that ends the watch.
        runner.run()
    });
    // One that came too late would end the process as soon as it is let through.
    forget_kick();
    record
}

/// Kicks a thread out of KVM_RUN once its time is up, until it has noticed; another time can be set.
fn watch(thread: libc::pthread_t, alarms: &mpsc::Receiver<Duration>) {
    let mut patience = TIME;
    loop {
        patience = match alarms.recv_timeout(patience) {
            Ok(patience) => patience,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                // SAFETY: the thread waits for this one before it ends.
                unsafe { libc::pthread_kill(thread, kick_signal()) };
                INSIST
            }
        };
    }
}

struct Runner {
    guest: Guest,
    memory: Vec<u8>,
    steps: Vec<Step>,
    setup: Setup,
    end: Instant,
    alarm: mpsc::Sender<Duration>,
}

impl Runner {
    fn run(mut self) -> Result<Record, Error> {
        let ending = loop {
            match self.round()? {
                Some(ending) => break ending,
                None if self.steps.len() >= MOST_STEPS => break Ending::TooManySteps,
                None if Instant::now() >= self.end => break Ending::TimeUp,
                None => {}
            }
        };
        drop(self.alarm);
        let last = self.steps.last().map(|step| step.after).unwrap_or_default();
        let (output, devices) = (self.guest.output(), self.guest.bus.map());
        Ok(Record { steps: self.steps, devices, ending, output, memory: self.memory, last })
    }

    /// A step of each processor that can make one.
    fn round(&mut self) -> Result<Option<Ending>, Error> {
        let mut idle = Vec::new();
        let mut stepped = false;
        for cpu in 0..self.guest.vcpus.len() {
            match self.state(cpu)? {
                State::Runs => {
                    stepped = true;
                    if let Some(ending) = self.step(cpu)? {
                        return Ok(Some(ending));
                    }
                }
                State::Waits => idle.push(cpu),
                State::Stands => {}
            }
        }
        match idle.first() {
            _ if stepped => Ok(None),
            // Only time can bring what it waits for: it may wait in KVM.
            Some(cpu) => self.step(*cpu),
            None => Ok(Some(Ending::Halted)),
        }
    }

    fn state(&mut self, cpu: usize) -> Result<State, Error> {
        let Some(vcpu) = self.guest.vcpus.get_mut(cpu) else { return Ok(State::Stands) };
        if !self.setup.controllers {
            return Ok(State::Runs);
        }
        let fd = vcpu.fd();
        let state = fd.get_mp_state().map_err(failed)?.mp_state;
        if state == KVM_MP_STATE_RUNNABLE {
            return Ok(State::Runs);
        }
        if state != KVM_MP_STATE_HALTED || fd.get_regs().map_err(failed)?.rflags & RFLAGS_IF == 0 {
            return Ok(State::Stands);
        }
        let apic = fd.get_lapic().map_err(failed)?;
        let asked = apic.regs.get(APIC_REQUESTS).is_some_and(|words| words.iter().any(|w| *w != 0));
        Ok(if asked { State::Runs } else { State::Waits })
    }

    /// One instruction of a processor.
    fn step(&mut self, cpu: usize) -> Result<Option<Ending>, Error> {
        let Some(before) = self.registers(cpu)? else { return Ok(Some(Ending::Halted)) };
        let apic_before = self.apic(cpu)?;
        let mut left = Vec::new();
        let ending = self.execute(cpu, &before, &mut left)?;
        if left.iter().any(|left| matches!(left, Left::MmioWrite { gpa, .. } if is_kick(*gpa))) {
            self.guest.wait_for_disk();
        }
        let after = self.registers(cpu)?.unwrap_or_default();
        let mut now = self.guest.snapshot();
        let at = before.system.cs.base.wrapping_add(before.general.rip);
        let gpa = walk(&self.memory, &before, at).gpa;
        let apic = happened::apic(&apic_before, &self.apic(cpu)?);
        let delivered = happened::delivered(&now, &before, &after);
        if let Some(delivered) = delivered {
            self.hide_stepping(&mut now, delivered.flags);
        }
        let stored = happened::stored(&self.memory, &now, &before);
        let walk = happened::walked(&self.memory, &before, &after);
        let next = stops::next(&self.memory, &before);
        let slept = self.setup.controllers && left.is_empty() && next == Next::Halt;
        let host_cpuid = (next == Next::Cpuid).then(|| host_cpuid(&before));
        self.memory = now;
        if ending != Some(Ending::TimeUp) || slept {
            let step = Step {
                cpu,
                gpa,
                before,
                after,
                left,
                stored,
                apic,
                delivered,
                slept,
                host_cpuid,
                walk,
            };
            self.steps.push(step);
        }
        Ok(ending)
    }

    /// Enters the guest until an instruction is done.
    fn execute(
        &mut self,
        cpu: usize,
        before: &Registers,
        left: &mut Vec<Left>,
    ) -> Result<Option<Ending>, Error> {
        let several = self.guest.vcpus.len() > 1;
        let Guest { vcpus, bus, .. } = &mut self.guest;
        let Some(vcpu) = vcpus.get_mut(cpu) else { return Ok(None) };
        let fd = vcpu.fd();
        let next = stops::next(&self.memory, before);
        let halted = next == Next::Halt || is_halted(fd)?;
        // Anew at each step: what a step is depends on the instruction.
        fd.set_guest_debug(&stops::debug(&self.memory, before, next, halted)).map_err(failed)?;
        fd.set_kvm_immediate_exit(0);
        // Where an interrupt of its own can wake it, it is waited for as long as there is time.
        let can_wait = !several && before.general.rflags & RFLAGS_IF != 0;
        let halts = halted && self.setup.controllers && !can_wait;
        if halts {
            let _ = self.alarm.send(HALTING);
        }
        loop {
            let mut action = Action::Continue;
            match exit::enter(fd) {
                Exit::Debug(_) => return Ok(None),
                Exit::PortIn(port, size, data) => {
                    bus.port_in(port, size, data);
                    left.push(Left::PortIn { port, data: data.to_vec() });
                }
                Exit::PortOut(port, size, data) => {
                    action = bus.port_out(port, size, data);
                    left.push(Left::PortOut { port, data: data.to_vec() });
                }
                Exit::MmioRead(gpa, data) => {
                    bus.mmio_read(gpa, data);
                    left.push(Left::MmioRead { gpa, data: data.to_vec() });
                }
                Exit::MmioWrite(gpa, data) => {
                    bus.mmio_write(gpa, data);
                    left.push(Left::MmioWrite { gpa, data: data.to_vec() });
                }
                Exit::Halted => {
                    left.push(Left::Halt);
                    return Ok(Some(Ending::Halted));
                }
                Exit::Fatal(Cause::TripleFault) => {
                    left.push(Left::Shutdown);
                    return Ok(Some(Ending::TripleFault));
                }
                Exit::Fatal(_) | Exit::LostMemory => {
                    left.push(Left::InternalError);
                    return Ok(Some(Ending::NotExecuted));
                }
                // The instruction that left is complete; or the time is up.
                Exit::Interrupted if !left.is_empty() => return Ok(None),
                Exit::Interrupted => {
                    forget_kick();
                    let remaining = self.end.saturating_duration_since(Instant::now());
                    let _ = self.alarm.send(remaining);
                    if halts && is_halted(fd)? && !remaining.is_zero() {
                        return Ok(None);
                    }
                    if remaining.is_zero() {
                        return Ok(Some(Ending::TimeUp));
                    }
                }
                Exit::NotStarted => {}
                Exit::Failed(error) => return Err(failed(error)),
            }
            if action != Action::Continue {
                return Ok(Some(Ending::PoweredOff));
            }
            if !left.is_empty() {
                // KVM completes the instruction and comes back before the next one.
                fd.set_kvm_immediate_exit(1);
            }
        }
    }

    /// Takes the trap flag, by which KVM steps, out of flags that an exception has put on the stack: the
    /// guest's own would not have it.
    fn hide_stepping(&self, memory: &mut [u8], flags: u64) {
        // The second byte of the flags.
        let place = usize::try_from(flags).ok().and_then(|at| at.checked_add(1));
        if let Some(byte) = place.and_then(|place| memory.get_mut(place)) {
            *byte &= !TRAP_FLAG;
            let _ = self.guest.memory.write_obj(*byte, GuestAddress(flags.saturating_add(1)));
        }
    }

    fn registers(&mut self, cpu: usize) -> Result<Option<Registers>, Error> {
        let Some(vcpu) = self.guest.vcpus.get_mut(cpu) else { return Ok(None) };
        let fd: &VcpuFd = vcpu.fd();
        let general = fd.get_regs().map_err(failed)?;
        let system = fd.get_sregs().map_err(failed)?;
        Ok(Some(Registers { general, system }))
    }

    /// The registers of a processor's local APIC; none where KVM has no controllers.
    fn apic(&mut self, cpu: usize) -> Result<Vec<u8>, Error> {
        let vcpu = self.guest.vcpus.get_mut(cpu).filter(|_| self.setup.controllers);
        let Some(vcpu) = vcpu else { return Ok(Vec::new()) };
        let apic = vcpu.fd().get_lapic().map_err(failed)?;
        Ok(apic.regs.iter().map(|byte| byte.cast_unsigned()).collect())
    }
}

enum State {
    /// It executes instructions.
    Runs,
    /// It is halted, and an interrupt may come.
    Waits,
    /// It is halted for good, or was not started.
    Stands,
}

/// What the host's processor answers to the same question.
fn host_cpuid(registers: &Registers) -> [u32; 4] {
    let low = |value: u64| u32::try_from(value & 0xFFFF_FFFF).unwrap_or(0);
    let (leaf, subleaf) = (low(registers.general.rax), low(registers.general.rcx));
    let answer = std::arch::x86_64::__cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

fn is_halted(fd: &VcpuFd) -> Result<bool, Error> {
    Ok(fd.get_mp_state().map_err(failed)?.mp_state == KVM_MP_STATE_HALTED)
}

fn is_kick(gpa: u64) -> bool {
    use crate::vm::devices::virtio::mmio::QUEUE_NOTIFY;
    use crate::vm::layout::{VIRTIO, VIRTIO_SLOT_SIZE};
    (VIRTIO.start..VIRTIO.end).contains(&gpa) && gpa % VIRTIO_SLOT_SIZE == QUEUE_NOTIFY
}

fn failed(error: kvm_ioctls::Error) -> Error {
    Error::Host(std::io::Error::from(error).into())
}

//! The guest as gdbstub sees it: vCPU n is thread n + 1.

use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, Registers as ArchRegisters};
use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::exec_file::{ExecFile, ExecFileOps};
use gdbstub::target::ext::host_io::{
    FsKind, HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoFstat,
    HostIoFstatOps, HostIoOpen, HostIoOpenFlags, HostIoOpenMode, HostIoOpenOps, HostIoOps,
    HostIoPread, HostIoPreadOps, HostIoResult, HostIoSetfs, HostIoSetfsOps, HostIoStat,
};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::{Target, TargetError, TargetResult};

use super::inferior::{Inferior, Point, Resume};
use super::registers::Registers;
use super::symbols;

/// x86, 64 or 32 bits wide as the description says.
pub(super) enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = Bytes;
    type BreakpointKind = usize;
    type RegId = ();
}

/// All registers as GDB has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bytes(Vec<u8>);

impl ArchRegisters for Bytes {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        // Nobody asks: only single-register extensions would.
        0
    }

    fn gdb_serialize(&self, mut write: impl FnMut(Option<u8>)) {
        self.0.iter().for_each(|byte| write(Some(*byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.0 = bytes.to_vec();
        Ok(())
    }
}

/// A guest, with what GDB wants of it next.
pub(super) struct Debugged<'a> {
    pub(super) inferior: &'a mut dyn Inferior,
    pub(super) symbols: &'a [u8],
    description: String,
    step: Option<usize>,
    /// Who is to run, should all others stand still.
    only: Option<usize>,
    others_stand_still: bool,
}

/// Nothing that the guest cannot do ends a session.
type Never = std::convert::Infallible;

impl<'a> Debugged<'a> {
    pub(super) fn new(
        inferior: &'a mut dyn Inferior,
        symbols: &'a [u8],
        description: String,
    ) -> Self {
        Debugged {
            inferior,
            symbols,
            description,
            step: None,
            only: None,
            others_stand_still: false,
        }
    }
}

fn cpu(tid: Tid) -> usize {
    tid.get() - 1
}

/// The thread of a vCPU.
pub(super) fn tid(cpu: usize) -> Tid {
    Tid::MIN.saturating_add(cpu)
}

/// Copies a part of a file, as GDB asks for it.
fn part(file: &[u8], offset: u64, count: usize, buffer: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
    let rest = file.get(start..).unwrap_or_default();
    let count = count.min(rest.len()).min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(rest.iter().take(count)) {
        *to = *from;
    }
    count
}

impl Target for Debugged<'_> {
    type Arch = X86;
    type Error = Never;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Never> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }

    fn support_exec_file(&mut self) -> Option<ExecFileOps<'_, Self>> {
        if self.symbols.is_empty() { None } else { Some(self) }
    }

    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        if self.symbols.is_empty() { None } else { Some(self) }
    }
}

impl MultiThreadBase for Debugged<'_> {
    fn read_registers(&mut self, registers: &mut Bytes, tid: Tid) -> TargetResult<(), Self> {
        *registers = Bytes(self.inferior.registers(cpu(tid)).map_err(TargetError::Io)?.bytes());
        Ok(())
    }

    fn write_registers(&mut self, registers: &Bytes, tid: Tid) -> TargetResult<(), Self> {
        let now: Registers = self.inferior.registers(cpu(tid)).map_err(TargetError::Io)?;
        let new = now.changed_by(&registers.0).ok_or(TargetError::NonFatal)?;
        self.inferior.set_registers(cpu(tid), &new).map_err(TargetError::Io)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match self.inferior.read(cpu(tid), start, data) {
            0 if !data.is_empty() => Err(TargetError::NonFatal),
            count => Ok(count),
        }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let written = self.inferior.write(cpu(tid), start, data);
        if written { Ok(()) } else { Err(TargetError::NonFatal) }
    }

    fn list_active_threads(&mut self, is_active: &mut dyn FnMut(Tid)) -> Result<(), Never> {
        (0..self.inferior.count()).for_each(|cpu| is_active(tid(cpu)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadResume for Debugged<'_> {
    fn resume(&mut self) -> Result<(), Never> {
        let there = |cpu: &usize| *cpu < self.inferior.count();
        let only = self.only.filter(|_| self.others_stand_still);
        // One that is stepped always is alone: what it waits for, the next `continue` brings.
        let resume = match (self.step.filter(there), only.filter(there)) {
            (Some(cpu), _) => Resume::Step(cpu),
            (None, Some(cpu)) => Resume::Only(cpu),
            (None, None) => Resume::All,
        };
        self.inferior.resume(resume);
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Never> {
        (self.step, self.only, self.others_stand_still) = (None, None, false);
        Ok(())
    }

    fn set_resume_action_continue(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Never> {
        self.only = Some(cpu(tid));
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSchedulerLocking for Debugged<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Never> {
        self.others_stand_still = true;
        Ok(())
    }
}

impl MultiThreadSingleStep for Debugged<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Never> {
        self.step = Some(cpu(tid));
        Ok(())
    }
}

impl Breakpoints for Debugged<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugged<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.inferior.insert(Point::Code(address)))
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.inferior.remove(Point::Code(address)))
    }
}

impl HwBreakpoint for Debugged<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.inferior.insert(Point::Register(address)))
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.inferior.remove(Point::Register(address)))
    }
}

impl HwWatchpoint for Debugged<'_> {
    fn add_hw_watchpoint(
        &mut self,
        address: u64,
        size: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        // A page that cannot be read cannot be executed either, nor hold the guest's tables.
        Ok(kind == WatchKind::Write && self.inferior.insert(Point::Store(address, size)))
    }

    fn remove_hw_watchpoint(
        &mut self,
        address: u64,
        size: u64,
        _: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(self.inferior.remove(Point::Store(address, size)))
    }
}

impl TargetDescriptionXmlOverride for Debugged<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        Ok(part(self.description.as_bytes(), offset, length, buffer))
    }
}

impl ExecFile for Debugged<'_> {
    fn get_exec_file(
        &self,
        _: Option<NonZeroUsize>,
        offset: u64,
        length: usize,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        Ok(part(symbols::NAME.as_bytes(), offset, length, buffer))
    }
}

impl HostIo for Debugged<'_> {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }

    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }

    fn support_setfs(&mut self) -> Option<HostIoSetfsOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Debugged<'_> {
    /// The symbols are the only file that there is: nothing of the host's can be asked for.
    fn open(
        &mut self,
        name: &[u8],
        _: HostIoOpenFlags,
        _: HostIoOpenMode,
    ) -> HostIoResult<u32, Self> {
        let known = name == symbols::NAME.as_bytes();
        if known { Ok(1) } else { Err(HostIoError::Errno(HostIoErrno::ENOENT)) }
    }
}

impl HostIoClose for Debugged<'_> {
    fn close(&mut self, _: u32) -> HostIoResult<(), Self> {
        Ok(())
    }
}

impl HostIoPread for Debugged<'_> {
    fn pread(
        &mut self,
        _: u32,
        count: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> HostIoResult<usize, Self> {
        Ok(part(self.symbols, offset, count, buffer))
    }
}

impl HostIoFstat for Debugged<'_> {
    fn fstat(&mut self, _: u32) -> HostIoResult<HostIoStat, Self> {
        let size = u64::try_from(self.symbols.len()).unwrap_or(0);
        Ok(HostIoStat {
            st_dev: 0,
            st_ino: 0,
            st_mode: HostIoOpenMode::S_IFREG | HostIoOpenMode::S_IRUSR,
            st_nlink: 1,
            st_uid: 0,
            st_gid: 0,
            st_rdev: 0,
            st_size: size,
            st_blksize: 4096,
            st_blocks: size.div_ceil(512),
            st_atime: 0,
            st_mtime: 0,
            st_ctime: 0,
        })
    }
}

impl HostIoSetfs for Debugged<'_> {
    fn setfs(&mut self, _: FsKind) -> HostIoResult<(), Self> {
        Ok(())
    }
}

//! A virtual machine that never runs, so that KVM does not patch its own code while others do.
//!
//! KVM keeps rarely needed tests out of its hot paths with static keys (the kernel's
//! Documentation/staging/static-keys.rst): whether any VM exists at all, whether any vCPU has its
//! local APIC switched off. Each first and last VM or vCPU then has kernel code rewritten, first
//! byte `int3`, while the other processors run. QEMU before 8.1 may keep a translation of that
//! `int3`: it lets one thread translate a page while another writes to it. The processor that runs
//! into it executes the same breakpoint for ever.
//!
//! One vCPU that is always there, with its local APIC switched off, keeps all those keys as they
//! are.

use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use crate::failure::{Failure, Step};

/// Switches the local APIC on, in `IA32_APIC_BASE` (Intel SDM, volume 3, 11.4.4).
const APIC_GLOBAL_ENABLE: u64 = 1 << 11;

/// The machine that never runs; it is there for as long as this value.
pub(super) struct IdleVm {
    _vm: VmFd,
    _vcpu: VcpuFd,
}

impl IdleVm {
    /// Makes it, where this machine has several processors: with one alone there is no race.
    ///
    /// # Errors
    /// KVM's, with what was asked of it.
    pub(super) fn start() -> Result<Option<Self>, Failure> {
        let processors = std::thread::available_parallelism().step("count the processors")?;
        if processors.get() == 1 {
            return Ok(None);
        }
        let vm = Kvm::new().and_then(|kvm| kvm.create_vm()).step("make an idle VM")?;
        vm.create_irq_chip().step("give the idle VM interrupt controllers")?;
        let vcpu = vm.create_vcpu(0).step("give the idle VM a vCPU")?;
        let mut registers = vcpu.get_sregs().step("read the idle vCPU's registers")?;
        registers.apic_base &= !APIC_GLOBAL_ENABLE;
        vcpu.set_sregs(&registers).step("switch the idle vCPU's APIC off")?;
        Ok(Some(Self { _vm: vm, _vcpu: vcpu }))
    }
}

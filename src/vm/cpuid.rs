//! CPUID as the guest sees it: what the host and KVM support, made consistent with this machine.
//!
//! One package, one node, one thread a core: APIC id n is core n.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::{Cap, Kvm};

use super::kvm::Error;

/// KVM's local APIC timers count at 1 GHz (Linux, arch/x86/kvm/lapic.c).
const APIC_BUS_KHZ: u32 = 1_000_000;

const LEAF_FEATURES: u32 = 0x1;
const LEAF_CACHES: u32 = 0x4;
const LEAF_PERFORMANCE: u32 = 0xA;
const LEAF_TOPOLOGY: u32 = 0xB;
const LEAF_TSC: u32 = 0x15;
const LEAF_TOPOLOGY_V2: u32 = 0x1F;
/// Linux, Documentation/virt/kvm/x86/cpuid.rst.
const LEAF_HYPERVISOR: u32 = 0x4000_0000;
const LEAF_KVM_FEATURES: u32 = 0x4000_0001;
/// KVM_FEATURE_ASYNC_PF, _ASYNC_PF_VMEXIT and _ASYNC_PF_INT.
const KVM_ASYNC_PAGE_FAULTS: u32 = 1 << 4 | 1 << 10 | 1 << 14;
/// VMware's timing leaf, which KVM guests understand: EAX is the TSC's frequency, EBX the APIC
/// timer's, both in kHz.
const LEAF_HYPERVISOR_TIMING: u32 = 0x4000_0010;
const LEAF_AMD_FEATURES: u32 = 0x8000_0001;
const LEAF_AMD_SIZES: u32 = 0x8000_0008;
const LEAF_AMD_SVM: u32 = 0x8000_000A;
const LEAF_AMD_CACHES: u32 = 0x8000_001D;
const LEAF_AMD_TOPOLOGY: u32 = 0x8000_001E;
const LEAF_AMD_PERFORMANCE: u32 = 0x8000_0022;

const ECX1_VMX: u32 = 1 << 5;
const ECX1_TSC_DEADLINE: u32 = 1 << 24;
const ECX1_HYPERVISOR: u32 = 1 << 31;
const EDX1_HTT: u32 = 1 << 28;
const AMD_ECX_CMP_LEGACY: u32 = 1 << 1;
const AMD_ECX_SVM: u32 = 1 << 2;
const LEVEL_SMT: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// The CPUID entries of this machine; a vCPU's own differ by its APIC id.
pub struct Cpuid {
    entries: Vec<kvm_cpuid_entry2>,
}

impl Cpuid {
    /// Takes what the host supports and makes it consistent for `cpus` vCPUs with a TSC of
    /// `tsc_khz` (where known).
    ///
    /// # Errors
    /// KVM's.
    pub fn new(kvm: &Kvm, cpus: u8, tsc_khz: Option<u32>) -> Result<Cpuid, Error> {
        let supported = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(|error| Error::Call("say which CPUID it supports", error))?;
        let deadline = kvm.check_extension(Cap::TscDeadlineTimer);
        Ok(Cpuid::from_supported(supported.as_slice(), cpus, tsc_khz, deadline))
    }

    fn from_supported(
        supported: &[kvm_cpuid_entry2],
        cpus: u8,
        tsc_khz: Option<u32>,
        tsc_deadline: bool,
    ) -> Cpuid {
        let intel = is_intel(supported);
        let mut entries: Vec<_> =
            supported.iter().copied().filter(|entry| !is_topology(entry.function)).collect();
        for entry in &mut entries {
            make_consistent(entry, u32::from(cpus), tsc_deadline);
        }
        let max_leaf = supported.iter().find(|entry| entry.function == 0).map_or(0, |e| e.eax);
        for leaf in [LEAF_TOPOLOGY, LEAF_TOPOLOGY_V2].into_iter().filter(|leaf| *leaf <= max_leaf) {
            entries.extend(topology(leaf, u32::from(cpus)));
        }
        if let Some(khz) = tsc_khz {
            entries.push(leaf(LEAF_HYPERVISOR_TIMING, khz, APIC_BUS_KHZ, 0));
            if intel && max_leaf >= LEAF_TSC {
                entries.retain(|entry| entry.function != LEAF_TSC);
                let (numerator, denominator) = ratio(khz, APIC_BUS_KHZ);
                entries.push(leaf(LEAF_TSC, denominator, numerator, APIC_BUS_KHZ * 1000));
            }
        }
        Cpuid { entries }
    }

    /// The entries of the vCPU with this APIC id.
    ///
    /// # Errors
    /// More entries than KVM takes.
    pub fn of_vcpu(&self, apic_id: u8) -> Result<CpuId, Error> {
        let mut entries = self.entries.clone();
        let id = u32::from(apic_id);
        for entry in &mut entries {
            match entry.function {
                LEAF_FEATURES => entry.ebx = entry.ebx & 0x00FF_FFFF | id << 24,
                LEAF_TOPOLOGY | LEAF_TOPOLOGY_V2 => entry.edx = id,
                LEAF_AMD_TOPOLOGY => (entry.eax, entry.ebx) = (id, id & 0xFF),
                _ => {}
            }
        }
        CpuId::from_entries(&entries).map_err(|_| {
            Error::Call("take that many CPUID entries", kvm_ioctls::Error::new(libc::E2BIG))
        })
    }
}

fn is_intel(supported: &[kvm_cpuid_entry2]) -> bool {
    // "GenuineIntel" in EBX, EDX, ECX.
    supported.iter().any(|entry| entry.function == 0 && entry.ebx == u32::from_le_bytes(*b"Genu"))
}

fn is_topology(function: u32) -> bool {
    matches!(function, LEAF_TOPOLOGY | LEAF_TOPOLOGY_V2)
}

/// How many bits of an APIC id tell the cores apart.
fn core_bits(cpus: u32) -> u32 {
    cpus.next_power_of_two().trailing_zeros()
}

fn make_consistent(entry: &mut kvm_cpuid_entry2, cpus: u32, tsc_deadline: bool) {
    match entry.function {
        LEAF_FEATURES => {
            // Addressable ids in EBX[23:16], CLFLUSH line size in units of 8 bytes in EBX[15:8].
            entry.ebx = cpus.next_power_of_two() << 16 | entry.ebx & 0xFFFF;
            entry.ecx |= ECX1_HYPERVISOR;
            // No virtualization inside: a smaller surface for a hostile guest.
            entry.ecx &= !ECX1_VMX;
            set(&mut entry.ecx, ECX1_TSC_DEADLINE, tsc_deadline);
            set(&mut entry.edx, EDX1_HTT, cpus > 1);
        }
        LEAF_CACHES if entry.eax & 0x1F != 0 => {
            let level = entry.eax >> 5 & 7;
            let sharing = if level >= 3 { cpus.next_power_of_two() - 1 } else { 0 };
            let cores = (cpus.next_power_of_two() - 1).min(0x3F);
            entry.eax = entry.eax & 0x3FFF | sharing << 14 | cores << 26;
        }
        // No performance counters: KVM would emulate them, and each guest kernel probes them.
        LEAF_PERFORMANCE | LEAF_AMD_PERFORMANCE | LEAF_AMD_SVM => {
            (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
        }
        LEAF_HYPERVISOR => entry.eax = entry.eax.max(LEAF_HYPERVISOR_TIMING),
        // Async page faults: one that is still to be reported when the guest has switched its
        // local APIC off never is, and keeps KVM from letting that vCPU halt. So a machine that
        // has stopped for good would use a whole CPU.
        LEAF_KVM_FEATURES => entry.eax &= !KVM_ASYNC_PAGE_FAULTS,
        LEAF_AMD_FEATURES => {
            entry.ecx &= !AMD_ECX_SVM;
            let legacy = entry.ecx & AMD_ECX_CMP_LEGACY != 0 && cpus > 1;
            set(&mut entry.ecx, AMD_ECX_CMP_LEGACY, legacy);
        }
        LEAF_AMD_SIZES => entry.ecx = core_bits(cpus) << 12 | (cpus - 1),
        LEAF_AMD_CACHES if entry.eax & 0x1F != 0 => {
            let level = entry.eax >> 5 & 7;
            let sharing = if level >= 3 { cpus - 1 } else { 0 };
            entry.eax = entry.eax & 0x3FFF | sharing << 14;
        }
        LEAF_AMD_TOPOLOGY => entry.ecx = 0,
        _ => {}
    }
}

/// Extended topology (Intel SDM vol. 2, CPUID leaf 0BH): a level of one thread, a level of all
/// cores, and the end.
fn topology(function: u32, cpus: u32) -> [kvm_cpuid_entry2; 3] {
    let level = |index, shift, count, kind: u32| kvm_cpuid_entry2 {
        function,
        index,
        flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: count,
        ecx: kind << 8 | index,
        ..Default::default()
    };
    [level(0, 0, 1, LEVEL_SMT), level(1, core_bits(cpus), cpus, LEVEL_CORE), level(2, 0, 0, 0)]
}

fn leaf(function: u32, eax: u32, ebx: u32, ecx: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, eax, ebx, ecx, ..Default::default() }
}

fn set(register: &mut u32, bit: u32, on: bool) {
    *register = if on { *register | bit } else { *register & !bit };
}

/// The fraction nearest to `value / unit` whose numerator, times a 1 GHz crystal in kHz, stays
/// below 2³²: Linux multiplies them in 32 bits.
fn ratio(value: u32, unit: u32) -> (u32, u32) {
    // 1 GHz in kHz is 10⁶: 4294 times that still fits.
    const MAX_NUMERATOR: u64 = 4294;
    let (value, unit) = (u64::from(value), u64::from(unit));
    let candidates = (1..=MAX_NUMERATOR).map(|denominator| {
        let numerator = (value * denominator + unit / 2) / unit;
        // How far off, in parts of a fixed size, so that candidates compare.
        let error = (numerator * unit).abs_diff(value * denominator) * 1_000_000 / denominator;
        (error, numerator, denominator)
    });
    let best = candidates
        .filter(|(_, numerator, _)| (1..=MAX_NUMERATOR).contains(numerator))
        .min()
        .unwrap_or((0, 1, 1));
    (u32::try_from(best.1).unwrap_or(1), u32::try_from(best.2).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intel() -> Vec<kvm_cpuid_entry2> {
        let vendor = kvm_cpuid_entry2 {
            function: 0,
            eax: 0x1F,
            ebx: u32::from_le_bytes(*b"Genu"),
            edx: u32::from_le_bytes(*b"ineI"),
            ecx: u32::from_le_bytes(*b"ntel"),
            ..Default::default()
        };
        let features = kvm_cpuid_entry2 { function: 1, ebx: 0xFF00_0800, ecx: ECX1_VMX, ..vendor };
        vec![vendor, features, leaf(LEAF_HYPERVISOR, LEAF_HYPERVISOR + 1, 0, 0)]
    }

    fn find(entries: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        let found = |entry: &&kvm_cpuid_entry2| (entry.function, entry.index) == (function, index);
        *entries.as_slice().iter().find(found).expect("leaf is there")
    }

    #[test]
    fn apic_ids_agree_in_every_leaf() {
        let cpuid = Cpuid::from_supported(&intel(), 8, Some(2_900_000), true);
        for id in 0..8_u8 {
            let entries = cpuid.of_vcpu(id).unwrap();
            assert_eq!(find(&entries, 1, 0).ebx >> 24, u32::from(id));
            assert_eq!(find(&entries, LEAF_TOPOLOGY, 0).edx, u32::from(id));
            assert_eq!(find(&entries, LEAF_TOPOLOGY_V2, 1).edx, u32::from(id));
        }
    }

    #[test]
    fn topology_has_one_thread_a_core_and_all_cores_in_one_package() {
        let cpuid = Cpuid::from_supported(&intel(), 6, None, true).of_vcpu(0).unwrap();
        let (smt, core) = (find(&cpuid, LEAF_TOPOLOGY, 0), find(&cpuid, LEAF_TOPOLOGY, 1));
        assert_eq!((smt.eax, smt.ebx, smt.ecx >> 8), (0, 1, LEVEL_SMT));
        assert_eq!((core.eax, core.ebx, core.ecx >> 8), (3, 6, LEVEL_CORE));
    }

    #[test]
    fn virtualization_is_hidden_and_the_hypervisor_shown() {
        let cpuid = Cpuid::from_supported(&intel(), 1, None, true).of_vcpu(0).unwrap();
        let ecx = find(&cpuid, 1, 0).ecx;
        assert_eq!(ecx & ECX1_VMX, 0);
        assert_ne!(ecx & ECX1_HYPERVISOR, 0);
        assert_ne!(ecx & ECX1_TSC_DEADLINE, 0);
        assert_eq!(find(&cpuid, LEAF_HYPERVISOR, 0).eax, LEAF_HYPERVISOR_TIMING);
    }

    #[test]
    fn intels_tsc_leaf_gives_the_frequency_within_ten_millionths() {
        for khz in [1_996_250_u32, 2_899_997, 3_000_000, 4_123_457] {
            let cpuid = Cpuid::from_supported(&intel(), 1, Some(khz), true).of_vcpu(0).unwrap();
            let leaf = find(&cpuid, LEAF_TSC, 0);
            assert!(u64::from(leaf.ecx / 1000) * u64::from(leaf.ebx) < 1 << 32);
            let got = f64::from(leaf.ecx) / 1000.0 * f64::from(leaf.ebx) / f64::from(leaf.eax);
            assert!((got / f64::from(khz) - 1.0).abs() < 1e-5, "{khz}: {got}");
        }
    }
}

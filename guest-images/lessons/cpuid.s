# cpuid: the guest asks the processor what it is, and the hypervisor answers.
# The processor starts in long mode.
        .code64

# Leaf 0: the highest leaf, and the maker's name in EBX, EDX, ECX.
        xor     %eax, %eax
        cpuid

# Leaf 1: what it can do. KVM adds bit 31 of ECX: you are a guest. duplex takes
# bit 5 away, VMX, and has the APIC's number in the top byte of EBX.
        mov     $1, %eax
        cpuid
        shr     $31, %ecx

# Leaf 0x80000001: bit 2 of ECX is SVM, AMD's virtualization. A guest of duplex
# is to have none.
        mov     $0x80000001, %eax
        cpuid
        and     $4, %ecx

# Leaf 0x40000000 is no processor's: the hypervisor gives its name here, again
# in EBX, ECX, EDX.
        mov     $0x40000000, %eax
        cpuid

        hlt

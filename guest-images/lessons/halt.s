# halt: three instructions, and one that gives the processor back.
# The processor starts in real mode at 0x1000, with every register 0.
        .code16

# Nothing here needs duplex or KVM: no exit.
        mov     $40, %ax
        inc     %ax
        inc     %ax

# An idle processor is of no use to the guest, but to the host: `hlt` exits.
        hlt

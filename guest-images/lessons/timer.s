# timer: a processor that sleeps until its timer wakes it.
# The processor starts in long mode. The local APIC, at 0xfee00000, is the part
# of a processor that takes interrupts for it, and it has a timer. KVM plays it
# in the host's kernel.
        .code64

        mov     $0x8000, %esp

# A gate for vector 0x40, as in the lesson before.
        lea     tick, %rax
        mov     %ax, 0x10000 + 0x40 * 16
        movw    $0x10, 0x10000 + 0x40 * 16 + 2
        movw    $0x8e00, 0x10000 + 0x40 * 16 + 4
        lidt    idtr

# Switch the APIC on; its timer shall raise vector 0x40, once, after 20,000,000
# ticks of 1 ns each.
        mov     $0xfee00000, %ebx
        movl    $0x1ff, 0xf0(%rbx)      # spurious vector 0xff, enable
        movl    $0xb, 0x3e0(%rbx)       # divide by 1
        movl    $0x40, 0x320(%rbx)      # vector 0x40, one shot
        movl    $20000000, 0x380(%rbx)   # start

# Sleep. `sti` allows interrupts behind the instruction that follows it, so
# that none can come in between.
        sti
        hlt
        cli
        hlt

# Say so on the serial port, and tell the APIC that it was dealt with.
tick:   mov     $0x3f8, %dx
        mov     $'T', %al
        out     %al, %dx
        movl    $0, 0xb0(%rbx)          # end of interrupt
        iretq

        .balign 8
idtr:   .word   0x41 * 16 - 1
        .quad   0x10000

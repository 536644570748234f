# two-processors: one wakes the other, and they share memory.
# The first processor starts in protected mode. The second one waits, without
# having executed anything, until an interrupt of a special kind starts it.
        .code32

# The local APIC can send interrupts to other processors by its command
# register. INIT resets all others; the next command, SIPI, has them start.
        mov     $0xfee00300, %ebx
        movl    $0xc4500, (%ebx)        # INIT, all but self

# SIPI has a vector: page number 2 is address 0x2000.
        movl    $0xc4602, (%ebx)

# Wait for a sign from the other one.
wait:   cmpl    $0x600d, 0x10000
        jne     wait

        mov     $0x3f8, %dx
        mov     $'1', %al
        out     %al, %dx
        hlt

# The second processor starts here, in real mode as at its very first reset:
# CS is 0x0200 and IP is 0.
        .org    0x1000
        .code16
second: mov     $0x3f8, %dx
        mov     $'2', %al
        out     %al, %dx

# DS 0x1000 begins at 0x10000. The memory is the same for both.
        mov     $0x1000, %ax
        mov     %ax, %ds
        movw    $0x600d, 0
        hlt

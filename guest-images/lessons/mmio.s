# mmio: devices that look like memory.
# The processor starts in protected mode: 32-bit addresses, no paging.
        .code32

# There is memory at 0x10000: the store reaches it, and duplex sees nothing.
        movl    $0x2a, 0x10000
        mov     0x10000, %eax

# At 0xd0000000 KVM has no memory. The load exits, and duplex answers it with
# a register of the device that it keeps there: a virtio disk.
        mov     0xd0000000, %eax

# A store exits as well: 1 in the status register says "I have seen you".
        movl    $1, 0xd0000070
        mov     0xd0000070, %ebx

# Neither memory nor a device is here: a PC answers with all ones.
        mov     0xd1000000, %ecx

        hlt

# virtqueue: read a sector of a disk, with rings in memory instead of ports.
# The processor starts in protected mode. The disk's registers: 0xd0000000.
        .code32

# Greet the device and lay down where the rings are: one pair of register and
# value after the other (the last one says that the driver is ready).
        mov     $setup, %esi
        mov     $0xd0000000, %ebx
next:   movzwl  (%esi), %edi
        movl    2(%esi), %eax
        mov     %eax, (%ebx,%edi)
        add     $6, %esi
        cmp     $ready, %esi
        jne     next

# The request lies in memory, below: three buffers in a chain. Offering it is
# a store to the ring's index; ringing the bell is the only exit that it costs.
        movw    $1, avail + 2
        movl    $0, 0x50(%ebx)          # queue 0

# duplex has read the rings and written the answer. Where to? See `table`.
        mov     used + 2, %ax           # how many chains came back
        mov     status, %dl             # 0: it went well
        mov     sector, %ecx            # the sector's first bytes
        hlt

setup:  .word   0x70; .long 3           # status: seen, and have a driver
        .word   0x24; .long 1           # features, the upper half:
        .word   0x20; .long 1           # version 1
        .word   0x70; .long 11          # ...agreed on
        .word   0x38; .long 4           # queue 0 has 4 places
        .word   0x80; .long table
        .word   0x90; .long avail
        .word   0xa0; .long used
        .word   0x44; .long 1           # the queue is ready
        .word   0x70; .long 15          # the driver is
ready:
# A descriptor: address, length, flags (1 more follows, 2 the device writes).
        .balign 16
table:  .quad   header;  .long 16;  .word 1, 1
        .quad   sector;  .long 512; .word 3, 2
        .quad   status;  .long 1;   .word 2, 0
header: .long   0, 0; .quad 0           # read, from sector 0
avail:  .word   0, 0, 0, 0, 0, 0        # flags, index, places: descriptor 0
        .balign 4
used:   .skip   4 + 4 * 8
status: .byte   0xff
        .balign 16
sector: .skip   512

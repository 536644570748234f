# protected-mode: from 16-bit segments to 32-bit addresses, in four steps.
        .code16

# In real mode a segment is a number times 16: DS 0x1000 begins at 0x10000.
        mov     $0x1000, %ax
        mov     %ax, %ds
        movw    $0x1111, 0
        xor     %ax, %ax
        mov     %ax, %ds

# 1: Tell the processor where the table of segments is.
        lgdtl   gdtr

# 2: Set the lowest bit of CR0, protection enable.
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0

# 3: CS still holds what real mode has put there. A far jump loads a new one.
        ljmpl   $0x08, $flat

# 4: The other segments, too. Now all 32 bits of an address count.
        .code32
flat:   mov     $0x10, %ax
        mov     %ax, %ds
        movl    $0x2222, 0x20000
        hlt

# Base 0 and limit 4 GiB for both. 0x9a is code, 0x92 data that can be written.
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff
        .quad   0x00cf92000000ffff
gdtr:   .word   . - gdt - 1
        .long   gdt

# long-mode: page tables of three levels, then 64-bit code.
# The processor starts in protected mode, without paging.
        .code32

# A table has 512 entries of 8 bytes. The first entry of each leads to the next
# table; bit 0 says present, bit 1 writable.
        movl    $0x11003, 0x10000       # PML4, at 0x10000
        movl    $0x12003, 0x11000       # page directory pointers, at 0x11000
        movl    $0x00083, 0x12000       # page directory: 2 MiB at 0, bit 7

# Long mode needs PAE, the wide entries: bit 5 of CR4.
        mov     $0x20, %eax
        mov     %eax, %cr4
        mov     $0x10000, %eax
        mov     %eax, %cr3

# Bit 8 of the register EFER enables long mode...
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax
        wrmsr

# ...and paging, bit 31 of CR0, activates it.
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0

# The code is 32-bit still: a far jump to a 64-bit segment ends that.
        lgdt    gdtr
        ljmp    $0x08, $wide

        .code64
wide:   mov     $0x1122334455667788, %rax
        mov     %rax, 0x14000
        hlt

        .balign 8
gdt:    .quad   0
        .quad   0x00af9a000000ffff      # bit 53, L: 64-bit code
gdtr:   .word   . - gdt - 1
        .long   gdt

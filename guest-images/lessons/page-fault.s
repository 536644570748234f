# page-fault: an address without memory behind it, and a handler that mends it.
# The processor starts in long mode. The first 4 GiB are mapped one to one by
# tables at 0x9000 (PML4), 0xa000 (page directory pointers) and 0xb000 on.
        .code64

        mov     $0x8000, %esp

# The interrupt table has 16 bytes a vector; the page fault is number 14.
# A gate's parts: offset, code segment, present and type, more of the offset.
        lea     handler, %rax
        mov     %ax, 0x10000 + 14 * 16
        movw    $0x10, 0x10000 + 14 * 16 + 2
        movw    $0x8e00, 0x10000 + 14 * 16 + 4
        lidt    idtr

# Nothing is mapped at 4 GiB. This store raises a page fault.
        mov     $0x100000000, %rbx
        movl    $0x2a, 0x14000(%rbx)

# It is executed again when the handler returns, and then it succeeds.
        mov     0x14000, %ecx
        hlt

# The processor has put the address into CR2, and on the stack why it failed.
handler:
        mov     %cr2, %rax
        mov     (%rsp), %rdx

# The fifth gibibyte shall show what the first one does. No exit: page tables
# are the guest's own affair.
        mov     0xa000, %rax
        mov     %rax, 0xa000 + 4 * 8

# The error code must be taken off the stack: `iretq` does not expect it.
        add     $8, %rsp
        iretq

        .balign 8
idtr:   .word   15 * 16 - 1
        .quad   0x10000

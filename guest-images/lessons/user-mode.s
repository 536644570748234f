# user-mode: code that may do less, and the call by which it asks for more.
# The processor starts in long mode, at privilege level 0: the kernel's.
        .code64

# Segments for both: kernel code 0x08; user data 0x1b and code 0x23, where the
# lowest two bits are the level, 3.
        lgdt    gdtr

# User mode may use a page only if bit 2 is set at each level of its tables.
        orb     $4, 0x9000
        orb     $4, 0xa000
        orb     $4, 0xb000
        mov     %cr3, %rax
        mov     %rax, %cr3              # forget what was remembered of them

# A system call is an exception that a program raises on purpose. Linux has
# `syscall` for it; `int3`, exception 3, works on any KVM. Its gate is one that
# level 3 may use, hence 0xee, and it brings the kernel's stack: the first
# pointer in the task state segment, which is at address 0 here.
        lea     kernel, %rax
        mov     %ax, 0x10000 + 3 * 16
        movw    $0x08, 0x10000 + 3 * 16 + 2
        movw    $0xee00, 0x10000 + 3 * 16 + 4
        lidt    idtr
        movl    $0x8000, 4

# To user mode: `iretq` takes RIP, CS, flags, RSP and SS from the stack.
        mov     $0x8000, %esp
        push    $0x1b
        push    $0x7000
        push    $0x202
        push    $0x23
        push    $user
        iretq

# Level 3. Ports and `hlt` are forbidden here, so it asks the kernel: 1 is
# "print the character in RDI", 0 is "end".
user:   mov     $'u', %edi
        mov     $1, %eax
        int3
        xor     %eax, %eax
        int3

# Level 0 again. The way back is on the stack.
kernel: test    %eax, %eax
        jz      end
        mov     $0x3f8, %dx
        xchg    %eax, %edi
        out     %al, %dx
        iretq
end:    hlt

        .balign 8
gdt:    .quad   0, 0x00af9a000000ffff, 0x00cf92000000ffff
        .quad   0x00cff2000000ffff, 0x00affa000000ffff
gdtr:   .word   . - gdt - 1
        .quad   gdt
idtr:   .word   4 * 16 - 1
        .quad   0x10000

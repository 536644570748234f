/*
 * mark: tells the machine that user space has been reached, by writing 1 to I/O port 0x5d0
 * (vm::layout defines it; on other machines nobody listens there). Exits with 0, or with 1 when the
 * kernel does not let it: a distribution's kernel may have no ioperm(2) or be locked down.
 */
#include <sys/syscall.h>

#define MARK_PORT 0x5d0

        .globl  _start
        .text
_start:
        /* ioperm(MARK_PORT, 1, 1) */
        mov     $SYS_ioperm, %eax
        mov     $MARK_PORT, %edi
        mov     $1, %esi
        mov     $1, %edx
        syscall
        mov     $1, %edi
        test    %rax, %rax
        jnz     exit

        mov     $MARK_PORT, %dx
        mov     $1, %al
        out     %al, %dx
        xor     %edi, %edi
exit:
        mov     $SYS_exit, %eax
        syscall

        .section .note.GNU-stack, "", @progbits

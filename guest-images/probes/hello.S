/*
 * hello: the smallest workload, /init of an initramfs of its own. Writes the "user space reached"
 * mark (see mark.S), says one line on the console, and powers off.
 *
 * The kernel opens /dev/console as descriptor 0 to 2 before it starts init, if the initramfs has
 * that node; when the write fails, the console is opened here.
 */
#include <sys/syscall.h>

#define MARK_PORT 0x5d0

/* reboot(2), from linux/reboot.h */
#define MAGIC1 0xfee1dead
#define MAGIC2 672274793
#define CMD_POWER_OFF 0x4321fedc
#define CMD_RESTART 0x01234567

#define O_WRONLY 1

        .globl  _start
        .text
_start:
        mov     $SYS_ioperm, %eax
        mov     $MARK_PORT, %edi
        mov     $1, %esi
        mov     $1, %edx
        syscall
        test    %rax, %rax
        jnz     say
        mov     $MARK_PORT, %dx
        mov     $1, %al
        out     %al, %dx

say:
        mov     $1, %edi
        call    write_line
        test    %rax, %rax
        jns     power_off
        mov     $SYS_open, %eax
        lea     console(%rip), %rdi
        mov     $O_WRONLY, %esi
        syscall
        mov     %eax, %edi
        call    write_line

power_off:
        mov     $CMD_POWER_OFF, %edx
        call    reboot
        /* Comes back only where init may not power off. */
        mov     $CMD_RESTART, %edx
        call    reboot
        mov     $1, %edi
        mov     $SYS_exit, %eax
        syscall

/* write(edi, line) */
write_line:
        mov     $SYS_write, %eax
        lea     line(%rip), %rsi
        mov     $line_end - line, %edx
        syscall
        ret

/* reboot(edx) */
reboot:
        mov     $SYS_reboot, %eax
        mov     $MAGIC1, %edi
        mov     $MAGIC2, %esi
        syscall
        ret

        .section .rodata
line:   .ascii  "hello from the guest\n"
line_end:
console: .asciz "/dev/console"

        .section .note.GNU-stack, "", @progbits

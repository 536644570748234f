# triple-fault: an exception whose handler fails, and the handler of that.
# The processor starts in protected mode. Its interrupt table is empty.
        .code32

        mov     $0x8000, %esp
        mov     $1, %eax

# An instruction that is none raises exception 6. There is no gate for it: that
# is exception 13. There is no gate for that either, which makes it a double
# fault, exception 8. No gate for that: the processor gives up.
        ud2

# Nobody comes here.
        mov     $2, %eax
        hlt

# port-output: a PC's serial port is at I/O ports 0x3f8 to 0x3ff.
# What is written to the first of them is sent down the line.
        .code16

# The number of a port beyond 0xff stands in DX.
        mov     $0x3f8, %dx

# There is no serial port: each `out` exits, and duplex plays one.
        mov     $'H', %al
        out     %al, %dx
        mov     $'i', %al
        out     %al, %dx
        mov     $'\n', %al
        out     %al, %dx

# Reading a port is the same the other way round: the answer comes from
# duplex. Port 0x3fd tells whether there is room to send.
        mov     $0x3fd, %dx
        in      %dx, %al

        hlt

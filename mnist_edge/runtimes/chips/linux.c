/* A program for Linux without a C library, for aarch64 and riscv64. Instructions are not counted: the emulator of programs has no counter. */
#include "harness.h"

enum { READ = 63, WRITE = 64, EXIT = 93 }; /* include/uapi/asm-generic/unistd.h of Linux */

void on_start(void) __attribute__((noreturn, used));

static long system_call(long number, long a, long b, long c)
{
#if defined(__aarch64__)
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#elif defined(__riscv)
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
#endif
}

#if defined(__aarch64__)
__asm__(".text\n"
        ".global start\n"
        "start:\n"
        "    b on_start\n"
        ".global chip_call\n"
        "chip_call:\n"
        "    stp x19, x30, [sp, #-16]!\n"
        "    mov x19, sp\n"
        "    mov sp, x3\n"
        "    bl " LOGITS_NAME "\n"
        "    mov sp, x19\n"
        "    ldp x19, x30, [sp], #16\n"
        "    ret\n");
#elif defined(__riscv)
__asm__(".text\n"
        ".global start\n"
        "start:\n"
        "    j on_start\n"
        ".global chip_call\n"
        "chip_call:\n"
        "    addi sp, sp, -16\n"
        "    sd ra, 0(sp)\n"
        "    sd s0, 8(sp)\n"
        "    mv s0, sp\n"
        "    mv sp, a3\n"
        "    call " LOGITS_NAME "\n"
        "    mv sp, s0\n"
        "    ld s0, 8(sp)\n"
        "    ld ra, 0(sp)\n"
        "    addi sp, sp, 16\n"
        "    ret\n");
#endif

int chip_read(void *to, uint32_t bytes)
{
    for (uint8_t *at = to; bytes;) {
        const long got = system_call(READ, 0, (long)at, (long)bytes);
        if (got <= 0)
            return 0;
        at += got;
        bytes -= (uint32_t)got;
    }
    return 1;
}

void chip_write(const void *from, uint32_t bytes)
{
    for (const uint8_t *at = from; bytes;) {
        const long gone = system_call(WRITE, 1, (long)at, (long)bytes);
        if (gone <= 0)
            chip_exit(1);
        at += gone;
        bytes -= (uint32_t)gone;
    }
}

void chip_exit(int code)
{
    for (;;)
        system_call(EXIT, code, 0, 0);
}

void chip_fault(const char *what)
{
    long length = 0;
    while (what[length])
        length++;
    system_call(WRITE, 2, (long)what, length);
    system_call(WRITE, 2, (long)"\n", 1);
    chip_exit(1);
}

uint32_t chip_ticks(void)
{
    return 0;
}

uint32_t chip_interrupts(void)
{
    return 0;
}

uint32_t chip_calibrate(void)
{
    return 0;
}

void on_start(void)
{
    harness_main();
}

/* Start-up code of a 32-bit RISC-V, and its counter of instructions, which the emulator's -icount makes exact. */
#include "semihosting.h"

void on_start(void) __attribute__((noreturn, used));
void on_fault(void) __attribute__((noreturn, used));

/* The processor begins at the first instruction. The three instructions around ebreak say that it is semihosting; none may be compressed. */
__asm__(".section .vectors, \"ax\"\n"
        ".global start\n"
        "start:\n"
        "    la sp, stack_of_the_harness\n"
        "    la t0, fault\n"
        "    csrw mtvec, t0\n"
        "    j on_start\n"
        ".balign 4\n"
        "fault:\n"
        "    la sp, stack_of_the_harness\n"
        "    j on_fault\n"
        ".text\n"
        ".balign 16\n"
        ".option push\n"
        ".option norvc\n"
        ".global semihosting\n"
        "semihosting:\n"
        "    slli x0, x0, 0x1f\n"
        "    ebreak\n"
        "    srai x0, x0, 7\n"
        "    ret\n"
        ".option pop\n"
        ".global chip_call\n"
        "chip_call:\n"
        "    addi sp, sp, -16\n"
        "    sw ra, 0(sp)\n"
        "    sw s0, 4(sp)\n"
        "    mv s0, sp\n"
        "    mv sp, a3\n"
        "    call " LOGITS_NAME "\n"
        "    mv sp, s0\n"
        "    lw s0, 4(sp)\n"
        "    lw ra, 0(sp)\n"
        "    addi sp, sp, 16\n"
        "    ret\n");

/* Of 64 bits those that count 16 instructions and more: float arithmetic without a floating-point unit takes billions in a large network. */
uint32_t chip_ticks(void)
{
    uint32_t low, high, again;
    do
        __asm__ volatile("csrr %0, minstreth\n csrr %1, minstret\n csrr %2, minstreth" : "=r"(high), "=r"(low), "=r"(again));
    while (high != again);
    return high << 28 | low >> 4;
}

uint32_t chip_interrupts(void)
{
    return 0;
}

uint32_t chip_calibrate(void)
{
    uint32_t left = 1000000;
    __asm__ volatile("1: addi %0, %0, -1\n nop\n nop\n bnez %0, 1b" : "+r"(left));
    return 4000000;
}

void on_fault(void)
{
    chip_fault("the chip stopped at a fault: memory that is not there, or an instruction that it does not know");
}

void on_start(void)
{
    semihosting_start();
    harness_main();
}

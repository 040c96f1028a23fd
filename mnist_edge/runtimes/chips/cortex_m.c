/* Start-up code of a Cortex-M, and its counter: SysTick counts down with the clock, which the emulator's -icount ties to the instructions. */
#include "semihosting.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xe000e010) /* control: 1 counts, 2 interrupts at 0, 4 uses the processor's clock */
#define SYST_RVR REGISTER(0xe000e014) /* what it begins with again after 0: 24 bits */
#define SYST_CVR REGISTER(0xe000e018) /* where it is */
#define CPACR REGISTER(0xe000ed88)    /* which coprocessors may be used */

void on_fault(void);
void say_fault(void);
extern uint32_t stack_of_the_harness[]; /* its upper end, by the linker script */

static volatile uint32_t rounds __attribute__((section(".harness_ram")));

/* What the compiler has no word for. chip_call keeps the harness's stack pointer in r4, which the network's function leaves as it was. */
__asm__(".syntax unified\n"
        ".text\n"
        ".thumb_func\n"
        ".global semihosting\n"
        "semihosting:\n"
        "    bkpt 0xab\n"
        "    bx lr\n"
        ".thumb_func\n"
        ".global chip_call\n"
        "chip_call:\n"
        "    push {r4, lr}\n"
        "    mov r4, sp\n"
        "    mov sp, r3\n"
        "    bl " LOGITS_NAME "\n"
        "    mov sp, r4\n"
        "    pop {r4, pc}\n"
        ".thumb_func\n"
        ".global on_fault\n"
        "on_fault:\n"
        "    ldr r0, =stack_of_the_harness\n" /* before anything is pushed: the network's stack may be what is at fault */
        "    mov sp, r0\n"
        "    bl say_fault\n"
        ".pool\n");

uint32_t chip_ticks(void)
{
    uint32_t before, ticks;
    do {
        before = rounds;
        ticks = SYST_CVR;
    } while (before != rounds);
    return (before << 24) - ticks;
}

uint32_t chip_interrupts(void)
{
    return rounds;
}

uint32_t chip_calibrate(void)
{
    uint32_t left = 1000000;
    __asm__ volatile(".syntax unified\n 1: subs %0, #1\n nop\n nop\n bne 1b" : "+l"(left) : : "cc");
    return 4000000;
}

void say_fault(void)
{
    chip_fault("the chip stopped at a fault: memory that is not there, or an instruction that it does not know");
}

static void on_wrap(void)
{
    rounds++;
}

void start(void)
{
#if defined(__ARM_FP)
    CPACR |= 0xfu << 20;
    __asm__ volatile("dsb\n isb");
#endif
    rounds = 0;
    SYST_RVR = 0xffffff;
    SYST_CVR = 0;
    SYST_CSR = 7;
    semihosting_start();
    harness_main();
}

const void *const vectors[16] __attribute__((section(".vectors"), used)) = {
    stack_of_the_harness, (const void *)start, (const void *)on_fault, (const void *)on_fault, (const void *)on_fault, (const void *)on_fault,
    (const void *)on_fault, 0, 0, 0, 0, (const void *)on_fault, (const void *)on_fault, 0, (const void *)on_fault, (const void *)on_wrap,
};

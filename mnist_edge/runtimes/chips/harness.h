/* What the harness needs of a chip or a system. NETWORK_HEADER, LOGITS, WORKSPACE_BYTES and CLASSES come from the compiler's command line. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdint.h>

#include NETWORK_HEADER

/* Called by the chip's start-up code; does not return. */
void harness_main(void) __attribute__((noreturn));

/* Read so many bytes. 0 if there are no more. */
int chip_read(void *to, uint32_t bytes);

void chip_write(const void *from, uint32_t bytes);

void chip_exit(int code) __attribute__((noreturn));

/* Say what went wrong, as one line on standard error, and end. */
void chip_fault(const char *what) __attribute__((noreturn));

/* A counter that goes on with the instructions; 0 for ever if there is none. */
uint32_t chip_ticks(void);

/* How often the counter has interrupted the program; what an interrupt saves lies on the network's stack. */
uint32_t chip_interrupts(void);

/* Execute a known number of instructions, and return it. */
uint32_t chip_calibrate(void);

/* Call the network's function on a stack of its own, which ends at `stack_top`. */
void chip_call(const uint8_t *pixels, float *logits, void *workspace, void *stack_top);

#endif

#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include "harness.h"

/* Ask the emulator: an operation and the address of its arguments, as Arm's and RISC-V's specifications of semihosting have it. */
intptr_t semihosting(intptr_t operation, const void *arguments);

/* Open standard input and output. */
void semihosting_start(void);

#endif

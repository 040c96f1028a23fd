/* Files of the computer that emulates the chip, by semihosting. `semihosting` itself is a few instructions of each chip. */
#include "semihosting.h"

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { READING = 1, WRITING = 5 }; /* "rb" and "wb" of fopen */

static intptr_t input __attribute__((section(".harness_ram"))), output __attribute__((section(".harness_ram")));

static intptr_t open_file(const char *name, intptr_t length, intptr_t mode)
{
    const intptr_t arguments[3] = {(intptr_t)name, mode, length};
    return semihosting(SYS_OPEN, arguments);
}

void semihosting_start(void)
{
    input = open_file("/dev/stdin", 10, READING);
    output = open_file("/dev/stdout", 11, WRITING);
    if (input < 0 || output < 0)
        chip_fault("standard input and output cannot be opened");
}

int chip_read(void *to, uint32_t bytes)
{
    for (uint8_t *at = to; bytes;) {
        const intptr_t arguments[3] = {input, (intptr_t)at, (intptr_t)bytes};
        const uint32_t missing = (uint32_t)semihosting(SYS_READ, arguments); /* it returns how many bytes it did not read */
        if (missing >= bytes)
            return 0;
        at += bytes - missing;
        bytes = missing;
    }
    return 1;
}

static uint32_t not_written(intptr_t file, const void *from, uint32_t bytes)
{
    const intptr_t arguments[3] = {file, (intptr_t)from, (intptr_t)bytes};
    return (uint32_t)semihosting(SYS_WRITE, arguments);
}

void chip_write(const void *from, uint32_t bytes)
{
    for (const uint8_t *at = from; bytes;) {
        const uint32_t missing = not_written(output, at, bytes);
        if (missing >= bytes)
            chip_exit(1);
        at += bytes - missing;
        bytes = missing;
    }
}

void chip_exit(int code)
{
    const intptr_t arguments[2] = {0x20026, code}; /* ADP_Stopped_ApplicationExit */
    for (;;)
        semihosting(SYS_EXIT_EXTENDED, arguments);
}

void chip_fault(const char *what)
{
    const intptr_t file = open_file("/dev/stderr", 11, WRITING);
    uint32_t length = 0;
    while (what[length])
        length++;
    not_written(file, what, length);
    not_written(file, "\n", 1);
    chip_exit(1);
}

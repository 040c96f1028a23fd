/* Answers images that come in through a pipe, and says what each cost. Compiled with the network's header, for every chip and every system here.

   First it writes a line of JSON. Then, for each batch, it reads the number of images and their pixels, and writes the number of rows, the
   number of columns and the rows: the logits, the ticks that the network took, and the bytes of stack that it used. All numbers have 32 bits and
   are little-endian. Pixels end: it ends, too. `child.py` is the other side. */
#include "harness.h"

#define PAINT 0xa5a5a5a5u

/* Where the stack ends is where memory ends, so that too deep a stack is a fault; what lies beside it is checked, too. */
static uint32_t stack[STACK_BYTES / 4] __attribute__((section(".stack"), aligned(16)));
static uint32_t workspace[(WORKSPACE_BYTES + 3) / 4 + 1] __attribute__((section(".harness_ram")));
static uint32_t pixels[784 / 4] __attribute__((section(".harness_ram")));
static union {
    float logits[CLASSES];
    uint32_t words[CLASSES + 2];
} row __attribute__((section(".harness_ram")));

static void must_read(void *to, uint32_t bytes)
{
    if (!chip_read(to, bytes))
        chip_exit(0);
}

static void write_number(uint32_t number)
{
    char text[11];
    int at = 11;
    do {
        uint32_t tenth = 0; /* a division would need a library that then counts as the network's */
        for (int bit = 28; bit >= 0; bit--)
            if (number >= 10u << bit && 10u <= UINT32_MAX >> bit) {
                number -= 10u << bit;
                tenth |= 1u << bit;
            }
        text[--at] = (char)('0' + number);
        number = tenth;
    } while (number);
    chip_write(text + at, (uint32_t)(11 - at));
}

static void answer(void)
{
    uint32_t interrupts;
    int tries = 4; /* an image that was interrupted is measured again, unless it takes longer than from one interrupt to the next */
    do {
        for (uint32_t i = 0; i < STACK_BYTES / 4; i++)
            *(volatile uint32_t *)(stack + i) = PAINT;
        interrupts = chip_interrupts();
        const uint32_t before = chip_ticks();
        chip_call((const uint8_t *)pixels, row.logits, workspace, stack + STACK_BYTES / 4);
        row.words[CLASSES] = chip_ticks() - before;
    } while (chip_interrupts() != interrupts && row.words[CLASSES] < 1u << 24 && --tries);
    uint32_t clean = 0;
    while (clean < STACK_BYTES / 4 && stack[clean] == PAINT)
        clean++;
    row.words[CLASSES + 1] = STACK_BYTES - 4 * clean;
}

void harness_main(void)
{
    const char ready[] = "{\"ticks\": ", counted[] = ", \"instructions\": ", end[] = "}\n";
    const uint32_t before = chip_ticks();
    const uint32_t instructions = chip_calibrate();
    const uint32_t ticks = chip_ticks() - before;
    chip_write(ready, sizeof ready - 1);
    write_number(ticks);
    chip_write(counted, sizeof counted - 1);
    write_number(instructions);
    chip_write(end, sizeof end - 1);
    for (;;) {
        uint32_t images;
        const uint32_t columns = CLASSES + 2;
        must_read(&images, 4);
        chip_write(&images, 4);
        chip_write(&columns, 4);
        for (; images; images--) {
            must_read(pixels, 784);
            answer();
            if (stack[0] != PAINT)
                chip_fault("the network needs more stack than there is");
            chip_write(row.words, sizeof row.words);
        }
    }
}

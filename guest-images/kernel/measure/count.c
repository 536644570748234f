/*
 * A plugin for QEMU's emulator that counts the instructions each piece of a guest's code runs.
 * Written to the file given as out=PATH when QEMU ends, one line a block of code:
 *
 *     ADDRESS B COUNT       kernel code: the low 32 bits of its virtual address
 *     user B COUNT          everything else (user space; firmware, and the kernel before paging)
 *
 * Debian packages QEMU without qemu-plugin.h, so what is used of it is declared here (API version 1).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
enum { INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(uint64_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *to, uint64_t add);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*cb)(uint64_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = 1;

/* Where the kernel's own code is mapped. */
#define KERNEL_TEXT UINT64_C(0xffffffff80000000)

/* A block of code, once for each time it was translated: the counts of equal blocks add up. */
struct block {
    uint64_t address, instructions;
    struct block *next;
};

static struct block *blocks;
static const char *out_path;

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
    struct block *block = calloc(1, sizeof(*block));

    (void)id;
    if (!block)
        abort();
    block->address = qemu_plugin_tb_vaddr(tb);
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &block->instructions,
                                             qemu_plugin_tb_n_insns(tb));
}

static void finished(uint64_t id, void *data)
{
    FILE *out = fopen(out_path, "w");
    uint64_t elsewhere = 0;

    (void)id;
    (void)data;
    if (!out) {
        perror(out_path);
        return;
    }
    for (struct block *block = blocks; block; block = block->next) {
        if (block->address < KERNEL_TEXT)
            elsewhere += block->instructions;
        else if (block->instructions)
            fprintf(out, "%08" PRIx32 " B %" PRIu64 "\n", (uint32_t)block->address,
                    block->instructions);
    }
    fprintf(out, "user B %" PRIu64 "\n", elsewhere);
    fclose(out);
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0)
        return 1;
    out_path = strdup(argv[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}

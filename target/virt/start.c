/* SPDX-License-Identifier: ISC */
/* First form: says hello and ends. */
#include <mirari/platform.h>

#include "target/virt/internal.h"

static void print(const char *text)
{
    mir__arch_console_write(text, mir_str_len(text));
}

void mir_platform_abort(const char *text)
{
    print(text);
    mir__arch_exit(MIR__EXIT_CRASH);
}

void mir__start(void)
{
    size_t size = 0;
    void *memory = mir__arch_take_memory(&size);
    print("mirari: started by ");
    print(mir__boot.loader);
    print(", command line: ");
    print(mir__boot.command_line);
    print(size >> 20 > 100 ? ", more than 100 MiB\n" : ", less than 100 MiB\n");
    mir_memset(memory, 0, size);
    mir__arch_exit(0);
}

/* SPDX-License-Identifier: ISC */
/* What a hostile image on aarch64 would do first: use the interface through which it tells its exit
 * status to read and remove a file of the host and to run a command there. Prints what it read and
 * ends; the test looks at the host.
 *
 * Source: Semihosting for AArch32 and AArch64, chapter 6.
 */
#include <mirari/mirari.h>

enum { SYS_OPEN = 0x01, SYS_READ = 0x06, SYS_REMOVE = 0x0e, SYS_SYSTEM = 0x12 };

static uint64_t ask(uint64_t operation, const uint64_t *block)
{
#if defined(__aarch64__)
    register uint64_t x0 __asm__("x0") = operation;
    register const uint64_t *x1 __asm__("x1") = block;
    __asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
    return x0;
#else
    (void)block;
    return operation;
#endif
}

int mir_app_main(struct mir_app *app)
{
    static char bytes[64];
    const char *file = mir_app_string(app, "file"), *command = mir_app_string(app, "command");
    uint64_t open[] = {(uintptr_t)file, 0, mir_str_len(file)};
    uint64_t read[] = {ask(SYS_OPEN, open), (uintptr_t)bytes, sizeof bytes - 1};
    (void)ask(SYS_READ, read);
    mir_app_print(app, "read: \"%s\"\n", bytes);
    (void)ask(SYS_REMOVE, (uint64_t[]){(uintptr_t)file, mir_str_len(file)});
    (void)ask(SYS_SYSTEM, (uint64_t[]){(uintptr_t)command, mir_str_len(command)});
    return 3;
}

/* SPDX-License-Identifier: ISC */
/* Every way to crash that a target must catch and report, one per run.
 *
 *   null     write to a small address            code     write to the code of the image
 *   call     call of a small address             data     call of data
 *   stack    recursion without an end            smash    a buffer on the stack overrun
 *   assert   an assertion that fails             none     no crash: the exit status is `status`
 */
#include <mirari/mirari.h>

static volatile int zero;

static int recurse(volatile int *sum, int depth)
{
    volatile char room[512];
    room[depth % 512] = (char)depth;
    *sum += room[depth % 512];
    if (zero == 1)
        return *sum;
    return recurse(sum, depth + 1) + room[1];
}

static int overrun(void)
{
    volatile char room[16];
    volatile char *at = room;
    for (int i = 0; i < 64 + zero; i++)
        at[i] = 'x';
    return room[3];
}

static int crash(const char *mode)
{
    static const uint32_t data[4] = {0};
    volatile int sum = 0;
    uintptr_t small = 0x1000 + (uintptr_t)zero;
    if (mir_str_equal(mode, "null"))
        *(volatile int *)(small + 8) = 1;
    else if (mir_str_equal(mode, "call"))
        ((void (*)(void))small)();
    else if (mir_str_equal(mode, "code"))
        *(volatile int *)(uintptr_t)mir_app_main = 1;
    else if (mir_str_equal(mode, "data"))
        ((void (*)(void))(uintptr_t)data)();
    else if (mir_str_equal(mode, "stack"))
        return recurse(&sum, 0);
    else if (mir_str_equal(mode, "smash"))
        return overrun();
    else if (mir_str_equal(mode, "assert"))
        MIR_ASSERT_OP(zero, ==, 1);
    return -1;
}

int mir_app_main(struct mir_app *app)
{
    const char *mode = mir_app_string(app, "mode");
    if (mir_str_equal(mode, "none"))
        return (int)mir_app_int(app, "status");
    return crash(mode);
}

/* SPDX-License-Identifier: ISC */
/* The host's generator. getrandom(2) blocks until the kernel's pool is seeded and gives up to 256
 * bytes at once without being interrupted; anything else is reported and not papered over. */
#include "dev/entropy/host/entropy.h"

#include <errno.h>
#include <sys/random.h>

#include <mirari/err.h>

static int read_entropy(struct mir_entropy *entropy, void *out, size_t len)
{
    (void)entropy;
    if (len > 256)
        return -MIR_EINVAL;
    ssize_t n;
    do
        n = getrandom(out, len, 0);
    while (n < 0 && errno == EINTR);
    return n >= 0 && (size_t)n == len ? 0 : -MIR_EIO;
}

struct mir_entropy *mir_entropy_host(void)
{
    static struct mir_entropy entropy = {.read = read_entropy};
    return &entropy;
}

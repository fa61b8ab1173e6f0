/* SPDX-License-Identifier: ISC */
/* `mirari vchan bench NAME`: how fast an echo answers over a channel, whatever is behind it:
 * another process, a virtual machine.
 *
 * A second of round trips of one byte, then one of bytes there and back as fast as they go, in
 * pieces of 64 KiB. Nothing spins here: each wait is one of the host's, so this is what an ordinary
 * program sees. Prints lines `name value unit`.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/vchan.h"

#define MEASURE_US MIR_US_PER_S
#define TRIPS_MAX  1000000u

static uint8_t buffer[65536];

/* Until one of @wishes is possible. False: it never will, or not for ten seconds. */
static bool wait_for(struct vchan_end *end, unsigned wishes)
{
    while (!mir_vchan_arm(&end->vchan, wishes)) {
        struct pollfd fds[2];
        int fd[2];
        unsigned count = vchan_end_descriptors(end, fd);
        for (unsigned i = 0; i < count; i++)
            fds[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
        if (poll(fds, count, 10000) <= 0)
            return false;
        vchan_end_poll(end);
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool go_to_and_fro(struct vchan_end *end)
{
    uint32_t *trip = need(TRIPS_MAX * sizeof(*trip)), count = 0;
    mir_time_us begun_us = mir_memfd_now(), now_us = begun_us;
    while (now_us - begun_us < MEASURE_US && count < TRIPS_MAX) {
        uint8_t byte = (uint8_t)count, back;
        if (mir_vchan_send(&end->vchan, &byte, 1) < 0 || !wait_for(end, MIR_VCHAN_READABLE) ||
            mir_vchan_recv(&end->vchan, &back, 1) < 0 || back != byte)
            break;
        mir_time_us then_us = now_us;
        now_us = mir_memfd_now();
        trip[count++] = (uint32_t)(now_us - then_us);
    }
    bool is_good = now_us - begun_us >= MEASURE_US || count == TRIPS_MAX;
    if (is_good) {
        qsort(trip, count, sizeof(*trip), compare);
        printf("round_trip_median %u us\nround_trip_99 %u us\n", trip[count / 2],
               trip[count - count / 100 - 1]);
    }
    free(trip);
    return is_good;
}

/* All that was sent is waited for. */
static bool stream(struct vchan_end *end)
{
    mir_time_us begun_us = mir_memfd_now();
    uint64_t sent = 0, back = 0;
    bool is_over = false;
    while (!is_over || back < sent) {
        size_t n;
        int r = is_over ? -MIR_EAGAIN : mir_vchan_write(&end->vchan, buffer, sizeof(buffer), &n);
        sent += r == 0 ? n : 0;
        if (r < 0 && r != -MIR_EAGAIN)
            return false;
        while ((r = mir_vchan_read(&end->vchan, buffer, sizeof(buffer), &n)) == 0)
            back += n;
        if (r != -MIR_EAGAIN)
            return false;
        is_over = mir_memfd_now() - begun_us >= MEASURE_US;
        if (back < sent && !wait_for(end, MIR_VCHAN_READABLE | (is_over ? 0u : MIR_VCHAN_WRITABLE)))
            return false;
    }
    double us = (double)(mir_memfd_now() - begun_us);
    printf("there_and_back %.0f MB/s\n", (double)back / us);
    return true;
}

int vchan_echo(const char *name, unsigned wait_s)
{
    static struct vchan_end end;
    char *path = vchan_path("bench", name);
    if (path == NULL)
        return EXIT_USAGE;
    int r = vchan_connect(path, wait_s, &end);
    if (r != 0)
        return r;
    printf("kind %s\n", end.is_region ? "region" : "memfd");
    bool is_good = go_to_and_fro(&end) && stream(&end);
    if (!is_good)
        complain("vchan bench: what serves \"%s\" does not send back what it gets", name);
    mir_vchan_close(&end.vchan);
    return is_good ? 0 : EXIT_FAIL;
}

/* SPDX-License-Identifier: ISC */
/* The recorder of a process: a file that is mapped, so what is in it outlives the process whatever
 * ends it - a crash, SIGKILL, the memory of the host running out.
 *
 * A worker has one of its own, FILE.INDEX-0 or FILE.INDEX-1 in turn, so that the life before is
 * there as well. The monitor, which records nothing, writes into it how a life ended that did not
 * end in order.
 *
 * MIRARI_RECORDER names the file; `mirari run` sets it to one in the appliance's own folder and
 * keeps it when the appliance has ended. It is opened before the sandbox closes; later there is
 * only memory. Without the variable, or if the file cannot be made, an appliance runs as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mirari/log.h>

#include "target/unix/workers.h"

#define VARIABLE "MIRARI_RECORDER"

static struct mir_recorder the_recorder;

static bool name_of(unsigned index, unsigned life, char path[PATH_MAX])
{
    const char *base = getenv(VARIABLE);
    return base != NULL &&
           snprintf(path, PATH_MAX, "%s.%u-%u", base, index, life % 2) < (int)PATH_MAX;
}

void mir__record_be_worker(unsigned index, unsigned life)
{
    char path[PATH_MAX];
    if (name_of(index, life, path))
        (void)setenv(VARIABLE, path, 1);
}

static bool write_at(int fd, const void *data, size_t len, size_t at)
{
    return pwrite(fd, data, len, (off_t)at) == (ssize_t)len;
}

void mir__record_end_worker(unsigned index, unsigned life, const char *text)
{
    const uint32_t state = MIR_RECORD_CRASHED;
    char path[PATH_MAX], magic[sizeof MIR_RECORD_MAGIC], end[64] = "";
    int fd = name_of(index, life, path) ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return;
    snprintf(end, sizeof end, "worker %u %s", index, text);
    if (pread(fd, magic, sizeof magic, 0) != (ssize_t)sizeof magic ||
        memcmp(magic, MIR_RECORD_MAGIC, sizeof magic) != 0 ||
        !write_at(fd, end, sizeof end, offsetof(struct mir_record, end)) ||
        !write_at(fd, &state, sizeof state, offsetof(struct mir_record, state)))
        MIR_LOG(TARGET, WARN, "%s: how worker %u ended is not written", path, index);
    close(fd);
}

void mir__record_open(struct mir__unix *u)
{
    const char *path = getenv(VARIABLE);
    struct mir_clock *clock = u->app.clock;
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *memory = MAP_FAILED;
    /* All of it is taken now: a full disk must not end us later. */
    if (fd >= 0 && (errno = posix_fallocate(fd, 0, MIR_RECORD_BYTES)) == 0)
        memory = mmap(NULL, MIR_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        MIR_LOG(TARGET, WARN, VARIABLE "=%s: %s; nothing is recorded", path, strerror(errno));
    else
        mir__recorder_open(&the_recorder, memory, &u->app, clock->monotonic(clock),
                           clock->wall(clock));
    if (fd >= 0)
        close(fd);
}

bool mir__record_is_open(void)
{
    return the_recorder.record != NULL;
}

void mir__record_wait(void *arg, mir_time_us deadline_us)
{
    mir__recorder_step(&the_recorder);
    mir__poll_wait(arg, deadline_us);
}

void mir__record_report(const char *text, size_t len)
{
    if (the_recorder.record != NULL)
        mir__recorder_report(&the_recorder, text, len);
}

void mir__record_close(int status)
{
    if (the_recorder.record != NULL)
        mir__recorder_close(&the_recorder, status);
}

/* SPDX-License-Identifier: ISC */
/* The recorder of a process: a file that is mapped, so what is in it outlives the process whatever
 * ends it - a crash, SIGKILL, the memory of the host running out.
 *
 * MIRARI_RECORDER names the file; `mirari run` sets it to one in the appliance's own folder and
 * keeps it when the appliance has ended. It is opened before the sandbox closes; later there is
 * only memory. Without the variable, or if the file cannot be made, an appliance runs as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/unix/internal.h"

static struct mir_recorder the_recorder;

void mir__record_open(struct mir__unix *u)
{
    const char *path = getenv("MIRARI_RECORDER");
    struct mir_clock *clock = u->app.clock;
    if (path == NULL || u->worker != NULL)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *memory = MAP_FAILED;
    /* All of it is taken now: a full disk must not end us later. */
    if (fd >= 0 && (errno = posix_fallocate(fd, 0, MIR_RECORD_BYTES)) == 0)
        memory = mmap(NULL, MIR_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        MIR_LOG(TARGET, WARN, "MIRARI_RECORDER=%s: %s; nothing is recorded", path, strerror(errno));
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

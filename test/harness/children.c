/* SPDX-License-Identifier: ISC */
/* Processes of a test that say by their status how it went. */
#include "test/harness/children.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t child_start(void (*run)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        run();
        _exit(99);
    }
    return pid;
}

int child_result(pid_t pid)
{
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

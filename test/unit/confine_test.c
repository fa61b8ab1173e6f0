/* SPDX-License-Identifier: ISC */
/* What a confined process of the tool can still do, and what not: each in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/tool.h"
#include "test/harness/tap.h"

static char folder[] = "/tmp/mirari-confine-XXXXXX", other[] = "/tmp/mirari-confine-XXXXXX";
static char inside[64], outside[64];

enum { WITHOUT_FILES = 100, NOT_CONFINED };

/* The wait status of a confined process that does @what, whose result is its exit status. */
static int confined(int (*what)(void))
{
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const struct confine confine = {.read = {"/proc"}, .change = folder};
        bool has_files = false;
        int r = confine_self(&confine, &has_files);
        _exit(r != 0                       ? NOT_CONFINED
              : what == NULL && !has_files ? WITHOUT_FILES
              : what == NULL               ? 0
                                           : what());
    }
    check(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

static int exit_of(int (*what)(void))
{
    int status = confined(what);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int signal_of(int (*what)(void))
{
    int status = confined(what);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}

/* ---- what it may ------------------------------------------------------------------------------
 */

static int use_folder(void)
{
    char path[80], text[8] = "";
    int fd = open(inside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "word", 4) != 4 || pread(fd, text, 4, 0) != 4)
        return 1;
    snprintf(path, sizeof path, "%s/sub", folder);
    if (mkdir(path, 0700) != 0 || rmdir(path) != 0 || unlink(inside) != 0)
        return 2;
    return strcmp(text, "word") == 0 ? 0 : 3;
}

static int read_proc(void)
{
    return process_start(getppid()) != 0 ? 0 : 1;
}

static int use_unix_socket(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(at.sun_path, inside, strlen(inside));
    if (server < 0 || bind(server, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(server, 1) != 0)
        return 1;
    int r = connect(client, (struct sockaddr *)&at, sizeof at) == 0 ? 0 : 2;
    return unlink(inside) == 0 ? r : 3;
}

/* ---- what it may not --------------------------------------------------------------------------
 */

static int read_elsewhere(void)
{
    return open(outside, O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static int write_elsewhere(void)
{
    return unlink(outside) < 0 ? errno : 0;
}

static int use_inet_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}

static int execute(void)
{
    (void)execl("/bin/true", "true", (char *)NULL);
    return 0;
}

static int trace(void)
{
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    return 0;
}

int main(void)
{
    tap_begin("confine");
    if (mkdtemp(folder) == NULL || mkdtemp(other) == NULL)
        return 1;
    snprintf(inside, sizeof inside, "%s/file", folder);
    snprintf(outside, sizeof outside, "%s/file", other);
    int fd = open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    check(fd >= 0);
    close(fd);
    int has_files = exit_of(NULL);
    tap_case("it can use its folder, look at processes, and connect to Unix sockets");
    check_int(exit_of(use_folder), ==, 0);
    check_int(exit_of(read_proc), ==, 0);
    check_int(exit_of(use_unix_socket), ==, 0);
    tap_case("it has no files elsewhere");
    if (has_files == WITHOUT_FILES) {
        tap_skip("the host has no Landlock");
    } else {
        check_int(has_files, ==, 0);
        check_int(exit_of(read_elsewhere), ==, EACCES);
        check_int(exit_of(write_elsewhere), ==, EACCES);
    }
    tap_case("it has no sockets of networks");
    check_int(exit_of(use_inet_socket), ==, EPERM);
    tap_case("it is ended when it starts a program, or traces");
    check_int(signal_of(execute), ==, SIGSYS);
    check_int(signal_of(trace), ==, SIGSYS);
    (void)unlink(outside);
    (void)rmdir(other);
    (void)rmdir(folder);
    return tap_done();
}

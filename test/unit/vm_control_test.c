/* SPDX-License-Identifier: ISC */
/* The tool's end of a machine's control channel: clients before, while and after the machine keeps
 * to its rules, and paths that are somebody else's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <mirari/bytes.h>

#include "cmd/mirari/vm.h"
#include "test/harness/tap.h"

static char folder[] = "/tmp/mirari-vm-control-XXXXXX", path[80];
static struct vm vm;
static struct vm_control control;
static int machine;
static uint8_t nonce[8];
static struct mir__line_in in;

/* ---- the machine ------------------------------------------------------------------------------
 */

static void on_frame(void *arg, const struct mir__line_frame *f)
{
    (void)arg;
    if (f->kind == MIR__LINE_IS_HELLO && f->len == MIR__LINE_HELLO)
        memcpy(nonce, f->payload + 1, sizeof nonce);
}

static void hear(void)
{
    uint8_t bytes[4096];
    ssize_t got;
    while ((got = recv(machine, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        mir__line_take(&in, bytes, (size_t)got, on_frame, NULL);
}

static void say(enum mir__line_kind kind, uint8_t session, const void *payload, uint32_t len)
{
    static uint8_t bytes[2 + 2 * (MIR__LINE_HEADER + MIR__LINE_MAX)];
    const struct mir__line_frame f = {
        .kind = (uint8_t)kind, .session = session, .payload = payload, .len = len};
    size_t size = mir__line_put(bytes, &f);
    check_int(send(machine, bytes, size, MSG_NOSIGNAL), ==, size);
}

static void hello(void)
{
    uint8_t payload[MIR__LINE_HELLO] = {MIR__LINE_VERSION};
    hear();
    memcpy(payload + 1, nonce, sizeof nonce);
    say(MIR__LINE_IS_HELLO, 0, payload, sizeof payload);
}

/* ---- the tool, and clients --------------------------------------------------------------------
 */

static void turn(void)
{
    struct pollfd fds[VM_CONTROL_FDS];
    for (unsigned i = 0; i < 4; i++) {
        vm_control_watch(&control, fds);
        if (poll(fds, VM_CONTROL_FDS, 0) < 0)
            abort();
        vm_control_serve(&control, fds);
    }
}

static struct sockaddr_un address(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, path, strlen(path));
    return at;
}

static int come(void)
{
    struct sockaddr_un at = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Is the client told that nobody is there any more? */
static bool is_over(int client)
{
    char byte;
    ssize_t got = recv(client, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static void begin(void)
{
    static struct state state = {.base_fd = -1, .fd = -1};
    int line[2];
    memset(&in, 0, sizeof in);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line) < 0)
        abort();
    machine = fcntl(line[1], F_DUPFD_CLOEXEC, 3);
    vm = (struct vm){.line = {line[0], line[1]}, .control_path = path};
    vm_control_open(&control, &vm, &state);
}

static void end(void)
{
    close(machine);
    vm_control_close(&control);
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++)
        str_free(&control.client[i].out);
    str_free(&control.out);
    free(control.in);
}

static void test_broken_rules(void)
{
    tap_case("a machine breaks the rules: clients are told, also those that waited and later ones");
    begin();
    hello();
    turn();
    int first = come();
    turn();
    check(first >= 0 && !is_over(first));
    int waits = come();
    say(MIR__LINE_IS_DATA, 7, "x", 1); /* a session that nobody has opened */
    turn();
    check(is_over(first));
    check(is_over(waits));
    check_int(come(), <, 0);
    close(first);
    close(waits);
    end();
}

static void test_silent(void)
{
    tap_case("a machine that ends before it has answered: who waits is told");
    begin();
    turn();
    int waits = come();
    turn();
    check(waits >= 0 && !is_over(waits));
    close(machine);
    machine = -1;
    turn();
    check(is_over(waits));
    check_int(come(), <, 0);
    close(waits);
    end();
}

static void test_path_of_others(void)
{
    struct sockaddr_un at = address();
    tap_case("a path at which somebody else listens is still theirs when the machine has ended");
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(bind(other, (struct sockaddr *)&at, sizeof at) == 0 && listen(other, 4) == 0);
    begin();
    hello();
    turn();
    end();
    int client = come();
    check_int(client, >=, 0);
    close(client);
    close(other);
    tap_case("one that a dead one left is taken, and gone in the end");
    begin();
    hello();
    turn();
    client = come();
    turn();
    check(client >= 0 && !is_over(client));
    close(client);
    end();
    check(access(path, F_OK) != 0);
}

int main(void)
{
    tap_begin("vm_control");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/control", folder);
    test_broken_rules();
    test_silent();
    test_path_of_others();
    (void)rmdir(folder);
    return tap_done();
}

/* SPDX-License-Identifier: ISC */
/* `mirari attach`, `detach` and `upgrade`: requests to the monitor of an appliance that runs in
 * several processes (`mirari run --workers N`).
 *
 *   mirari attach ── NAME-PID/monitor (packet socket) ── monitor ── workers
 *
 * The tool tells the appliance where in its folder to listen; the folder is closed to others, and
 * the monitor looks who asks besides. One message there, one back (target/unix/handover.h).
 *
 * The socket's path may be longer than an address holds, so it is named through the descriptor of
 * its folder in /proc.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"
#include "target/unix/handover.h"

#define SOCKET_NAME "monitor"

/* In the child, which is about to become the appliance and whose folder is there. */
void workers_listen(struct run *run, const struct state *state)
{
    bool is_wanted = false;
    for (size_t i = 0; i < run->argv.count; i++) {
        if (strcmp(run->argv.item[i], "--monitor") == 0)
            return;
        is_wanted = is_wanted || strcmp(run->argv.item[i], "--workers") == 0;
    }
    if (!is_wanted)
        return;
    char *path =
        need_format("%s/%s-%d/" SOCKET_NAME, state->base, run->manifest.name, (int)getpid());
    list_add(&run->argv, "--monitor");
    list_add(&run->argv, path);
    free(path);
}

static int connect_to(const char *who)
{
    struct state state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int folder = state_open(&state) == 0 ? state_find(&state, who) : -1;
    if (folder < 0)
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, folder);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        complain(errno == ENOENT ? "\"%s\" has no monitor (%s); start it with --workers 1"
                                 : "cannot speak to the monitor of \"%s\": %s",
                 who, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    close(folder);
    return fd;
}

/* Ask, print the answer. Returns the exit status. */
static int ask(const char *who, const struct mir__handover *request)
{
    struct mir__handover answer;
    int passed = -1, fd = connect_to(who);
    if (fd < 0)
        return EXIT_FAIL;
    int r = mir__handover_send(fd, request, -1);
    if (r == 0)
        r = mir__handover_receive(fd, MIR__HANDOVER_TOOL, &answer, &passed);
    close(fd);
    if (r < 0) {
        complain("the monitor of \"%s\" does not answer: %s; is it of another version?", who,
                 mir_strerror(r));
        return EXIT_FAIL;
    }
    if (answer.status < 0) {
        complain("%s", answer.text);
        return EXIT_FAIL;
    }
    size_t len = strlen(answer.text);
    printf("%s%s", answer.text, len > 0 && answer.text[len - 1] != '\n' ? "\n" : "");
    return 0;
}

static int usage(const char *what)
{
    complain("%s; `mirari help attach` says how", what);
    return EXIT_USAGE;
}

/* [NET=]TAP, where a network without a name has that of its tap. */
static bool take_place(const char *text, struct mir__handover *request)
{
    const char *equal = strchr(text, '=');
    const char *tap = equal != NULL ? equal + 1 : text;
    size_t len = equal != NULL ? (size_t)(equal - text) : strlen(text);
    if (len == 0 || len >= sizeof(request->name) || tap[0] == '\0' || strlen(tap) >= IFNAMSIZ ||
        strchr(tap, '/') != NULL)
        return false;
    memcpy(request->name, text, len);
    memcpy(request->ifname, tap, strlen(tap) + 1);
    return true;
}

int cmd_attach(int argc, char **argv)
{
    struct mir__handover request = mir__handover_make(MIR__HANDOVER_ATTACH);
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return usage_error("attach", argv[i], NULL, 0);
    if (argc == 2) {
        request = mir__handover_make(MIR__HANDOVER_LIST);
        return ask(argv[1], &request);
    }
    if (argc < 4 || strcmp(argv[2], "net") != 0)
        return usage("attach: NAME net TAP is expected");
    if (!take_place(argv[3], &request))
        return usage("attach: the tap is written TAP or NET=TAP, with at most 15 letters");
    for (int i = 4; i < argc; i++) {
        size_t at = strlen(request.text);
        if (at + strlen(argv[i]) + 2 > sizeof(request.text))
            return usage("attach: too many words");
        snprintf(request.text + at, sizeof(request.text) - at, "%s%s", at > 0 ? " " : "", argv[i]);
    }
    return ask(argv[1], &request);
}

int cmd_detach(int argc, char **argv)
{
    struct mir__handover request = mir__handover_make(MIR__HANDOVER_DETACH);
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return usage_error("detach", argv[i], NULL, 0);
    if (argc != 4 || strcmp(argv[2], "net") != 0 || strlen(argv[3]) >= sizeof(request.name))
        return usage("detach: NAME net NET is expected");
    memcpy(request.name, argv[3], strlen(argv[3]) + 1);
    return ask(argv[1], &request);
}

int cmd_upgrade(int argc, char **argv)
{
    struct mir__handover request = mir__handover_make(MIR__HANDOVER_UPGRADE);
    if (argc != 2)
        return usage("upgrade: one appliance is expected");
    if (argv[1][0] == '-')
        return usage_error("upgrade", argv[1], NULL, 0);
    return ask(argv[1], &request);
}

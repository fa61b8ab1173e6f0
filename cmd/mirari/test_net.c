/* SPDX-License-Identifier: ISC */
/* The networks of a test: a network namespace of its own, with a bridge for each net and a tap for
 * each appliance on it.
 *
 *   namespace of this process, and of all it starts
 *     lan (bridge) 10.77.1.1, fd00:77:1::1 ──┬── tap ── server 10.77.1.10, fd00:77:1::a
 *     the tool, and commands of `run`        └── tap ── client 10.77.1.11, fd00:77:1::b
 *
 * Without root the namespace is made inside a user namespace, in which we are root: nothing of the
 * machine can be seen or changed, and everything is gone with the last process in it. As root only
 * the network is new.
 *
 * ip(8) makes what is inside, all in one run.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/test.h"

#define FIRST_HOST 10u

/* ---- the namespace --------------------------------------------------------------------------- */

static bool put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return good;
}

static bool become_root_inside(uid_t uid, gid_t gid)
{
    char *uids = need_format("0 %u 1", (unsigned)uid), *gids = need_format("0 %u 1", (unsigned)gid);
    (void)put_file("/proc/self/setgroups", "deny");
    bool good = put_file("/proc/self/uid_map", uids) && put_file("/proc/self/gid_map", gids);
    free(uids);
    free(gids);
    return good;
}

static int open_namespace(struct why *why)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (access("/dev/net/tun", R_OK | W_OK) != 0) {
        (void)fail(why, "cannot use /dev/net/tun: %s", strerror(errno));
        return TEST_NO_NET;
    }
    if (unshare(CLONE_NEWNET | (uid != 0 ? CLONE_NEWUSER : 0)) != 0) {
        (void)fail(why, "cannot make a network namespace: %s", strerror(errno));
        return TEST_NO_NET;
    }
    if (uid != 0 && !become_root_inside(uid, gid)) {
        (void)fail(why, "cannot become root of a user namespace: %s", strerror(errno));
        return TEST_NO_NET;
    }
    return 0;
}

/* ---- what is in it --------------------------------------------------------------------------- */

/* Position of net @name among those of app @index, in the order of its manifest; or -1. */
static int place_of_net(const struct test_file *file, size_t index, const char *name)
{
    const struct test_app *app = &file->app[index];
    for (size_t i = 0; i < (app->has_nets ? app->nets.count : file->net_count); i++)
        if (strcmp(app->has_nets ? app->nets.item[i] : file->net[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void add_commands(const struct test_file *file, struct str *out)
{
    str_text(out, "link set lo up\n");
    for (size_t k = 0; k < file->net_count; k++) {
        const struct test_net *net = &file->net[k];
        unsigned mtu = net->mtu != 0 ? net->mtu : 1500;
        str_format(out, "link add %s type bridge mcast_snooping 0\n", net->name);
        str_format(out, "link set %s mtu %u up\n", net->name, mtu);
        str_format(out, "address add %s.1/24 dev %s\n", net->prefix, net->name);
        str_format(out, "address add fd00:77:%zx::1/64 dev %s nodad\n", k + 1, net->name);
        for (size_t i = 0; i < file->app_count; i++) {
            if (place_of_net(file, i, net->name) < 0)
                continue;
            str_format(out, "tuntap add dev tap%zu-%zu mode tap vnet_hdr\n", k, i);
            str_format(out, "link set tap%zu-%zu mtu %u master %s up\n", k, i, mtu, net->name);
        }
    }
}

static bool run_ip(const struct str *commands, struct why *why)
{
    int ends[2], status = -1;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail(why, "no pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[0], STDIN_FILENO);
        execlp("ip", "ip", "-batch", "-", (char *)NULL);
        dprintf(STDERR_FILENO, "mirari: test: cannot run ip: %s; apt-get install iproute2\n",
                strerror(errno));
        _exit(127);
    }
    close(ends[0]);
    ssize_t put = pid > 0 ? write(ends[1], commands->data, commands->len) : 0;
    close(ends[1]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return (put == (ssize_t)commands->len && status == 0) ||
           fail(why, "ip(8) cannot make bridges and taps; what it said is above");
}

int test_net_open(const struct test_file *file, struct why *why)
{
    struct str commands = {0};
    if (file->net_count == 0)
        return 0;
    int r = open_namespace(why);
    if (r != 0)
        return r;
    add_commands(file, &commands);
    bool good = run_ip(&commands, why);
    str_free(&commands);
    return good ? 0 : EXIT_FAIL;
}

/* ---- who has which address ------------------------------------------------------------------- */

static void add_pair(struct list *words, const char *option, char *value_given)
{
    list_add(words, option);
    list_add(words, value_given);
    free(value_given);
}

bool test_net_words(const struct test_file *file, size_t index, const struct manifest *manifest,
                    struct list *words, struct why *why)
{
    const struct test_app *app = &file->app[index];
    size_t count = app->has_nets ? app->nets.count : file->net_count;
    if (count > manifest->net_count && !app->has_nets)
        count = manifest->net_count;
    if (count > manifest->net_count)
        return fail(why, "\"%s\" has %zu networks in its manifest, not %zu", app->name,
                    manifest->net_count, count);
    for (size_t k = 0; k < file->net_count; k++) {
        const struct test_net *net = &file->net[k];
        int place = place_of_net(file, index, net->name);
        if (place < 0 || (size_t)place >= count)
            continue;
        const char *name = manifest->net[place].name;
        unsigned host = FIRST_HOST + (unsigned)index;
        add_pair(words, "--net", need_format("%s=tap:tap%zu-%zu", name, k, index));
        add_pair(words, "--mac", need_format("%s=02:6d:69:%02zx:00:%02zx", name, k, index));
        add_pair(words, "--ip", need_format("%s=%s.%u/24", name, net->prefix, host));
        add_pair(words, "--ip", need_format("%s=fd00:77:%zx::%x/64", name, k + 1, host));
        add_pair(words, "--ip6", need_format("%s=static", name));
        add_pair(words, "--acd", need_format("%s=off", name));
        if (net->mtu != 0)
            add_pair(words, "--mtu", need_format("%s=%u", name, net->mtu));
        if (app->has_faults)
            add_pair(words, "--fault", need_format("%s=none", name));
    }
    return true;
}

static void set_pair(struct test_vars *vars, const char *name, const char *ip, const char *ip6)
{
    char *name6 = need_format("%s_ip6", name);
    test_var_set(vars, name, ip);
    test_var_set(vars, name6, ip6);
    free(name6);
}

void test_net_vars(const struct test_file *file, struct test_vars *vars)
{
    for (size_t k = 0; k < file->net_count; k++) {
        const struct test_net *net = &file->net[k];
        char *ip = need_format("%s.1", net->prefix);
        test_var_set(vars, net->name, ip);
        free(ip);
        for (size_t i = 0; i < file->app_count; i++) {
            const struct test_app *app = &file->app[i];
            int place = place_of_net(file, i, net->name);
            unsigned host = FIRST_HOST + (unsigned)i;
            if (place < 0)
                continue;
            char *name = need_format("%s_%s", app->name, net->name);
            char *ip6 = need_format("fd00:77:%zx::%x", k + 1, host);
            ip = need_format("%s.%u", net->prefix, host);
            set_pair(vars, name, ip, ip6);
            if (place == 0)
                set_pair(vars, app->name, ip, ip6);
            free(name);
            free(ip);
            free(ip6);
        }
    }
}

/* SPDX-License-Identifier: ISC */
/* The DHCP lease of last time: a line in a file, read at the start, written at every change.
 *
 *   mirari-lease 1 192.0.2.17 02:5e:... 1790000000 \n      address, our MAC, end in seconds since
 * 1970
 *
 * The next start asks for the same address straight away (RFC 2131 section 3.2, INIT-REBOOT): one
 * exchange instead of two, and the same address however many others have come meanwhile. For that
 * the lease must still be ours, so an appliance with such a file does not release it at its end. A
 * line that is not understood, of another MAC, or whose lease has ended is no error: the appliance
 * asks as one that knows nothing.
 *
 * The file is opened before privileges and file system are given up, as the user behind sudo, and
 * locked: a second appliance on it goes without. A line has always the same length, so that writing
 * it at the beginning of the file is one call and leaves nothing of the one before; a line that a
 * crash cut off is not understood.
 *
 * Of several workers the first one has the file; one that replaces it locks it when it takes over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <mirari/format.h>
#include <mirari/log.h>

#include "target/unix/workers.h"

enum { LINE_LEN = 80 };

static void make_line(const struct mir__unix_net *net, uint64_t ends_s, const struct mir_ip *ip,
                      char line[LINE_LEN + 1])
{
    const uint8_t *mac = net->dev->info.mac;
    char text[MIR_IP_TEXT_MAX];
    size_t len = mir_format(line, LINE_LEN, "mirari-lease 1 %s %02x:%02x:%02x:%02x:%02x:%02x %llu ",
                            mir_ip_text(ip, text), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
                            (unsigned long long)ends_s);
    memset(line + len, ' ', LINE_LEN - len);
    line[LINE_LEN - 1] = '\n';
    line[LINE_LEN] = '\0';
}

/* Is it what make_line() made, for this MAC, and not over? */
static bool read_line(const struct mir__unix_net *net, char line[LINE_LEN + 1], uint64_t now_s,
                      struct mir_ip *ip)
{
    char text[MIR_IP_TEXT_MAX + 1], same[LINE_LEN + 1];
    unsigned long long ends_s;
    if (sscanf(line, "mirari-lease 1 %15s %*17s %llu ", text, &ends_s) != 2 ||
        mir_ip_parse(text, strlen(text), ip) < 0 || !mir_ip_is_v4(ip))
        return false;
    make_line(net, ends_s, ip, same);
    return memcmp(line, same, LINE_LEN) == 0 && ends_s > now_s;
}

static uint64_t wall_s(const struct mir__unix *u)
{
    return u->app.clock->wall(u->app.clock) / MIR_US_PER_S;
}

static void open_one(struct mir__unix *u, struct mir__unix_net *net)
{
    char line[LINE_LEN + 1] = "";
    struct mir_ip ip;
    const char *path = net->options->lease_file;
    bool is_sudo = u->identity.is_root && getenv("SUDO_UID") != NULL;
    if (is_sudo && (setegid(u->identity.gid) < 0 || seteuid(u->identity.uid) < 0))
        return;
    net->lease_fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    int error = errno;
    if (is_sudo && (seteuid(0) < 0 || setegid(0) < 0))
        mir__assert_fail(__FILE__, __LINE__, "root again", 0, 0);
    if (net->lease_fd < 0) {
        MIR_LOG(TARGET, WARN, "--lease-file: cannot write %s: %s; the lease is not kept", path,
                strerror(error));
        return;
    }
    /* The one that this worker replaces has it; it is ours when that is gone. */
    bool is_second = u->worker != NULL && u->worker->is_second;
    if (!is_second && flock(net->lease_fd, LOCK_EX | LOCK_NB) < 0) {
        MIR_LOG(TARGET, WARN, "--lease-file: %s is in use by another appliance", path);
        close(net->lease_fd);
        net->lease_fd = -1;
        return;
    }
    net->config.dhcp_keep = true;
    u->sandbox_needs |= MIR__SANDBOX_LEASE;
    if (pread(net->lease_fd, line, LINE_LEN, 0) == LINE_LEN && read_line(net, line, wall_s(u), &ip))
        net->config.dhcp_last_ip = ip;
}

void mir__lease_open(struct mir__unix *u)
{
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        struct mir__unix_net *net = &u->nets[i];
        net->lease_fd = -1;
        if (net->options->lease_file != NULL && net->config.use_dhcp && net->dev != NULL &&
            (u->worker == NULL || u->worker->index == 0))
            open_one(u, net);
    }
}

void mir__lease_lock(struct mir__unix *u)
{
    for (uint32_t i = 0; i < u->options.net_count && u->worker->is_leading; i++) {
        if (u->nets[i].lease_fd >= 0 && flock(u->nets[i].lease_fd, LOCK_EX | LOCK_NB) < 0)
            MIR_LOG(TARGET, WARN, "--lease-file: %s is in use by another appliance",
                    u->nets[i].options->lease_file);
    }
}

static void write_one(struct mir__unix *u, uint32_t index)
{
    struct mir__unix_net *net = &u->nets[index];
    struct mir_net_lease lease;
    char line[LINE_LEN + 1];
    if (net->lease_fd < 0 || (u->worker != NULL && !u->worker->is_leading) ||
        mir_net_get_lease(u->net, index + 1, &lease) < 0 || lease.expires_us == net->lease_us)
        return;
    net->lease_us = lease.expires_us;
    uint64_t left_s = UINT32_MAX; /* a lease without an end */
    if (lease.expires_us != MIR_TIME_NEVER)
        left_s = (lease.expires_us - mir_loop_now(&u->loop)) / MIR_US_PER_S;
    make_line(net, wall_s(u) + left_s, &lease.ip, line);
    if (pwrite(net->lease_fd, line, LINE_LEN, 0) != LINE_LEN)
        MIR_LOG(TARGET, WARN, "--lease-file: cannot write: %s", strerror(errno));
}

void mir__lease_task(void *arg)
{
    struct mir__unix *u = arg;
    struct mir_wait *changed = &u->app.stack->address_ready;
    do {
        for (uint32_t i = 0; i < u->options.net_count; i++)
            write_one(u, i);
    } while (mir_wait_on(&u->loop, changed, MIR_TIME_NEVER) == 0);
}

bool mir__lease_is_kept(const struct mir__unix *u)
{
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        if (u->nets[i].lease_fd >= 0)
            return true;
    }
    return false;
}

void mir__lease_close(struct mir__unix *u)
{
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        if (u->nets[i].lease_fd >= 0)
            close(u->nets[i].lease_fd);
        u->nets[i].lease_fd = -1;
    }
}

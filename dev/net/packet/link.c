/* SPDX-License-Identifier: ISC */
/* News of the interface: up, down, removed.
 *
 * A packet socket says once that its interface went down, and nothing when it comes back. The
 * host's routing socket says both, and when a carrier comes and goes. It is opened before the
 * sandbox closes, and only read afterwards. When it loses messages, the interface is taken for up:
 * sending then finds out.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/net/packet/open.h"

#define MESSAGES_MAX 8192u

int mir__packet_link_open(void)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static enum mir__packet_link read_message(const struct nlmsghdr *message, int ifindex)
{
    struct ifinfomsg info;
    bool is_link = message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK;
    if (!is_link || message->nlmsg_len < NLMSG_LENGTH(sizeof info))
        return MIR__PACKET_LINK_SAME;
    memcpy(&info, (const uint8_t *)message + NLMSG_HDRLEN, sizeof info);
    /* A bridge tells of its ports in messages of its own family; leaving it is no removal. */
    if (info.ifi_index != ifindex || info.ifi_family != AF_UNSPEC)
        return MIR__PACKET_LINK_SAME;
    if (message->nlmsg_type == RTM_DELLINK)
        return MIR__PACKET_LINK_GONE;
    bool is_up = info.ifi_flags & IFF_UP && info.ifi_flags & IFF_RUNNING;
    return is_up ? MIR__PACKET_LINK_UP : MIR__PACKET_LINK_DOWN;
}

enum mir__packet_link mir__packet_link_read(int link_fd, int ifindex)
{
    _Alignas(struct nlmsghdr) uint8_t bytes[MESSAGES_MAX];
    enum mir__packet_link link = MIR__PACKET_LINK_SAME;
    for (;;) {
        ssize_t n = read(link_fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ENOBUFS) {
            link = MIR__PACKET_LINK_UP;
            continue;
        }
        if (n <= 0)
            return link;
        uint32_t left = (uint32_t)n;
        struct nlmsghdr *message = (void *)bytes;
        for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
            enum mir__packet_link news = read_message(message, ifindex);
            if (news != MIR__PACKET_LINK_SAME)
                link = news;
            if (link == MIR__PACKET_LINK_GONE)
                return link;
        }
    }
}

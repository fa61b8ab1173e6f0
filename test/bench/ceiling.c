/* SPDX-License-Identifier: ISC */
/* What a tap can do at all: the least program that still answers Linux, to measure a real stack by.
 *
 *   ceiling tcp IFNAME [--no-vnet]     one TCP connection at a time: port 5001 discards, 5002 sends
 *   ceiling udp IFNAME                 every UDP datagram goes back to its sender
 *
 * It makes the tap, prints "ready" and runs until it is killed. The host's side gets its address
 * from whoever starts it: 10.78.1.1/24; this one is 10.78.1.2 and answers ARP.
 *
 * It is no stack: nothing is retransmitted, there are no timers, checksums of received segments are
 * not looked at, payload is not touched, the window it offers never closes. It is fair only in its
 * system calls: one read or write for each frame, as everybody on a tap, frames of 64 KiB with the
 * vnet header, one acknowledgement for a batch of up to 16 reads. So its rate is what is left when
 * a stack costs nothing.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    ETH = 14,
    IP = 20,
    TCP = 20,
    ARP = 28,
    MSS = 1460,
    BATCH = 16,
    SEND_MAX = 44 * MSS,
    FLIGHT_MAX = 4 << 20,
    WSCALE = 8,
};
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t our_ip[4] = {10, 78, 1, 2};

static struct {
    int fd;
    size_t vnet_len;
    uint8_t peer_mac[6];
    uint8_t peer_ip[4];
    uint16_t peer_port, our_port; /* network order */
    uint32_t snd_nxt, snd_una, rcv_nxt, snd_wnd;
    uint8_t snd_wscale;
    bool is_established;
} lab;

static uint8_t payload[SEND_MAX];

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

static uint32_t fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

/* Big-endian sum of an even number of bytes, but for the last. */
static uint64_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;
    for (; len > 1; p += 2, len -= 2)
        sum += get16(p);
    return len > 0 ? sum + (uint32_t)(p[0] << 8) : sum;
}

static int open_tap(const char *name, bool has_vnet)
{
    struct ifreq request = {.ifr_flags =
                                (short)(IFF_TAP | IFF_NO_PI | (has_vnet ? IFF_VNET_HDR : 0))};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        return -1;
    int len = sizeof(struct virtio_net_hdr_mrg_rxbuf);
    if (has_vnet && (ioctl(fd, TUNSETVNETHDRSZ, &len) < 0 ||
                     ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0))
        return -1;
    lab.vnet_len = has_vnet ? (size_t)len : 0;
    return fd;
}

/* A full queue of the tap drops the frame: there is nothing better to do here. */
static void put_frame(const void *head, size_t head_len, const void *body, size_t body_len)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)head, head_len},
                             {(void *)(uintptr_t)body, body_len}};
    if (writev(lab.fd, parts, body_len > 0 ? 2 : 1) < 0)
        return;
}

static void answer_arp(const uint8_t *frame)
{
    uint8_t out[sizeof(struct virtio_net_hdr_mrg_rxbuf) + ETH + ARP] = {0};
    uint8_t *eth = out + lab.vnet_len, *arp = eth + ETH;
    if (get16(frame + ETH + 6) != 1 || memcmp(frame + ETH + 24, our_ip, 4) != 0)
        return;
    memcpy(eth, frame + 6, 6);
    memcpy(eth + 6, our_mac, 6);
    memcpy(eth + 12, frame + 12, 8); /* type; the first six bytes of ARP */
    put16(arp + 6, 2);
    memcpy(arp + 8, our_mac, 6);
    memcpy(arp + 14, our_ip, 4);
    memcpy(arp + 18, frame + ETH + 8, 10);
    put_frame(out, lab.vnet_len + ETH + ARP, NULL, 0);
}

/* ---- TCP ----------------------------------------------------------------------------------- */

static void fill_checksum(uint8_t *vnet, const uint8_t *ip, uint8_t *tcp, size_t header_len,
                          uint32_t body_len)
{
    uint64_t sum = sum_of(ip + 12, 8) + 6 + header_len + body_len;
    if (lab.vnet_len == 0) {
        put16(tcp + 16, ~fold(sum + sum_of(tcp, header_len) + sum_of(payload, body_len)));
        return;
    }
    struct virtio_net_hdr h = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = ETH + IP, .csum_offset = 16};
    if (body_len > MSS) {
        h.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
        h.gso_size = MSS;
        h.hdr_len = ETH + IP + TCP;
    }
    memcpy(vnet, &h, sizeof h);
    put16(tcp + 16, fold(sum));
}

static void send_segment(uint8_t flags, uint32_t body_len)
{
    static const uint8_t syn_options[8] = {2, 4, MSS >> 8, MSS & 0xff, 3, 3, WSCALE, 0};
    uint8_t out[sizeof(struct virtio_net_hdr_mrg_rxbuf) + ETH + IP + TCP + sizeof syn_options] = {
        0};
    uint8_t *eth = out + lab.vnet_len, *ip = eth + ETH, *tcp = ip + IP;
    size_t header_len = TCP + (flags & SYN ? sizeof syn_options : 0);
    memcpy(eth, lab.peer_mac, 6);
    memcpy(eth + 6, our_mac, 6);
    put16(eth + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(IP + header_len + body_len));
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, our_ip, 4);
    memcpy(ip + 16, lab.peer_ip, 4);
    put16(ip + 10, ~fold(sum_of(ip, IP)));
    memcpy(tcp, &lab.our_port, 2);
    memcpy(tcp + 2, &lab.peer_port, 2);
    put32(tcp + 4, lab.snd_nxt);
    put32(tcp + 8, lab.rcv_nxt);
    tcp[12] = (uint8_t)(header_len << 2);
    tcp[13] = flags;
    put16(tcp + 14, flags & SYN ? 65535 : FLIGHT_MAX >> WSCALE);
    if (flags & SYN)
        memcpy(tcp + TCP, syn_options, sizeof syn_options);
    fill_checksum(out, ip, tcp, header_len, body_len);
    put_frame(out, lab.vnet_len + ETH + IP + header_len, payload, body_len);
    lab.snd_nxt += body_len + ((flags & (SYN | FIN)) != 0);
}

static void take_syn(const uint8_t *frame, const uint8_t *tcp, size_t header_len)
{
    memcpy(lab.peer_mac, frame + 6, 6);
    memcpy(lab.peer_ip, frame + ETH + 12, 4);
    memcpy(&lab.peer_port, tcp, 2);
    memcpy(&lab.our_port, tcp + 2, 2);
    lab.rcv_nxt = get32(tcp + 4) + 1;
    lab.snd_nxt = lab.snd_una = 1000;
    lab.is_established = false;
    lab.snd_wscale = 0;
    for (size_t at = TCP; at + 2 < header_len && tcp[at] != 0;
         at += tcp[at] == 1 ? 1 : tcp[at + 1]) {
        if (tcp[at] == 3)
            lab.snd_wscale = tcp[at + 2] & 15;
        if (tcp[at] != 1 && tcp[at + 1] < 2)
            break;
    }
    send_segment(SYN | ACK, 0);
}

/* Returns whether an acknowledgement is due. */
static bool take_segment(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + ETH, *tcp = ip + IP;
    size_t header_len = (size_t)(tcp[12] >> 4) * 4;
    uint32_t total = get16(ip + 2), seq = get32(tcp + 4), ack = get32(tcp + 8);
    if (total < IP + header_len || ETH + total > len || header_len < TCP)
        return false;
    uint32_t body_len = (uint32_t)(total - IP - header_len);
    uint8_t flags = tcp[13];
    if (flags & SYN) {
        take_syn(frame, tcp, header_len);
        return false;
    }
    if (memcmp(tcp, &lab.peer_port, 2) != 0 || flags & RST) {
        lab.is_established &= (flags & RST) == 0;
        return false;
    }
    if (flags & ACK) {
        if ((int32_t)(ack - lab.snd_una) > 0)
            lab.snd_una = ack;
        lab.snd_wnd = (uint32_t)get16(tcp + 14) << lab.snd_wscale;
        lab.is_established = true;
    }
    if (body_len > 0 && seq == lab.rcv_nxt)
        lab.rcv_nxt += body_len;
    if (flags & FIN && seq + body_len == lab.rcv_nxt) {
        lab.rcv_nxt++;
        send_segment(FIN | ACK, 0);
        lab.is_established = false;
        return false;
    }
    return body_len > 0;
}

static void send_data(void)
{
    uint32_t size = lab.vnet_len != 0 ? SEND_MAX : MSS;
    for (int i = 0; i < 16; i++) {
        if ((int32_t)(lab.snd_una + lab.snd_wnd - lab.snd_nxt) < (int32_t)size ||
            lab.snd_nxt - lab.snd_una + size > FLIGHT_MAX)
            return;
        send_segment(ACK, size);
    }
}

/* ---- UDP ----------------------------------------------------------------------------------- */

/* Swapping addresses and ports changes no checksum. */
static void send_back(uint8_t *frame, size_t len)
{
    uint8_t *ip = frame + ETH, *udp = ip + IP, t[6];
    memcpy(t, frame, 6);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, t, 6);
    memcpy(t, ip + 12, 4);
    memcpy(ip + 12, ip + 16, 4);
    memcpy(ip + 16, t, 4);
    memcpy(t, udp, 2);
    memcpy(udp, udp + 2, 2);
    memcpy(udp + 2, t, 2);
    put_frame(frame - lab.vnet_len, lab.vnet_len + len, NULL, 0);
}

static bool take_frame(uint8_t *frame, size_t len, bool is_udp)
{
    if (len >= ETH + ARP && get16(frame + 12) == 0x0806)
        answer_arp(frame);
    if (len < ETH + IP + (is_udp ? 8 : TCP) || get16(frame + 12) != 0x0800 || frame[ETH] != 0x45 ||
        frame[ETH + 9] != (is_udp ? 17 : 6) || memcmp(frame + ETH + 16, our_ip, 4) != 0)
        return false;
    if (!is_udp)
        return take_segment(frame, len);
    send_back(frame, len);
    return false;
}

int main(int argc, char **argv)
{
    static uint8_t buffer[70000];
    bool is_udp = argc > 2 && strcmp(argv[1], "udp") == 0;
    bool has_vnet = !(argc > 3 && strcmp(argv[3], "--no-vnet") == 0);
    if (argc < 3 || (!is_udp && strcmp(argv[1], "tcp") != 0) || (argc > 3 && has_vnet)) {
        fprintf(stderr, "usage: ceiling tcp|udp IFNAME [--no-vnet]\n");
        return 64;
    }
    lab.fd = open_tap(argv[2], has_vnet);
    if (lab.fd < 0) {
        perror("ceiling: tap");
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        bool is_ack_due = false;
        int count = 0;
        for (; count < BATCH; count++) {
            ssize_t len = read(lab.fd, buffer, sizeof buffer);
            if (len <= (ssize_t)lab.vnet_len)
                break;
            is_ack_due |= take_frame(buffer + lab.vnet_len, (size_t)len - lab.vnet_len, is_udp);
        }
        if (is_ack_due)
            send_segment(ACK, 0);
        if (lab.is_established && lab.our_port == htons(5002))
            send_data();
        struct pollfd wait = {lab.fd, POLLIN, 0};
        if (count == 0)
            poll(&wait, 1, -1);
    }
}

/* SPDX-License-Identifier: ISC */
/* lwIP as Debian builds it, sending to itself through its in-process loopback: bulk TCP in one
 * direction by the raw API, as `inmem bulk` does it with two stacks of ours.
 *
 *   lwip-inmem MIB      -> lwip_gbit_per_s (per second of processor time, all threads)
 *
 * Everything runs in lwIP's own thread; the main thread waits. Its options are Debian's: a window
 * of 64 KiB, a segment size of 1460, memory by malloc. Tuned by hand it is several times faster:
 * see docs/performance.md.
 */
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/tcpip.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct {
    uint64_t wanted, queued, got;
    struct netif netif;
    sem_t done;
    char block[16384];
} lab;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "lwip-inmem: %s failed\n", what);
    exit(1);
}

static void fill(struct tcp_pcb *pcb)
{
    for (;;) {
        uint64_t len = lab.wanted - lab.queued;
        if (len > sizeof lab.block)
            len = sizeof lab.block;
        if (len > tcp_sndbuf(pcb))
            len = tcp_sndbuf(pcb);
        if (len == 0 || tcp_write(pcb, lab.block, (u16_t)len, 0) != ERR_OK)
            break;
        lab.queued += len;
    }
    tcp_output(pcb);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    (void)arg, (void)len;
    fill(pcb);
    return ERR_OK;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)arg;
    must(err == ERR_OK, "connect");
    fill(pcb);
    return ERR_OK;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)arg, (void)err;
    must(p != NULL, "the connection");
    lab.got += p->tot_len;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    if (lab.got == lab.wanted)
        sem_post(&lab.done);
    return ERR_OK;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)arg;
    must(err == ERR_OK, "accept");
    tcp_recv(pcb, on_received);
    return ERR_OK;
}

static err_t on_netif(struct netif *netif)
{
    netif->mtu = 1500;
    netif->flags = NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

static void begin(void *arg)
{
    (void)arg;
    ip4_addr_t ip, mask, gateway;
    IP4_ADDR(&ip, 10, 0, 0, 1);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    ip4_addr_set_zero(&gateway);
    must(netif_add(&lab.netif, &ip, &mask, &gateway, NULL, on_netif, tcpip_input) != NULL,
         "netif_add");
    netif_set_up(&lab.netif);
    netif_set_default(&lab.netif);
    struct tcp_pcb *listener = tcp_new();
    must(tcp_bind(listener, IP_ANY_TYPE, 9) == ERR_OK, "bind");
    listener = tcp_listen(listener);
    tcp_accept(listener, on_accept);
    struct tcp_pcb *pcb = tcp_new();
    tcp_sent(pcb, on_sent);
    ip_addr_t to;
    ip_addr_copy_from_ip4(to, ip);
    must(tcp_connect(pcb, &to, 9, on_connected) == ERR_OK, "connect");
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    int mib = argc > 1 ? atoi(argv[1]) : 200;
    must(mib > 0, "reading the number of MiB");
    lab.wanted = (uint64_t)mib << 20;
    must(sem_init(&lab.done, 0, 0) == 0, "sem_init");
    double start_s = cpu_s();
    tcpip_init(begin, NULL);
    while (sem_wait(&lab.done) != 0)
        ;
    printf("lwip_gbit_per_s %.3f Gbit/s\n", (double)lab.wanted * 8 / (cpu_s() - start_s) / 1e9);
    return 0;
}

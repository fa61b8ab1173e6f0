/* SPDX-License-Identifier: ISC */
/* lib/vchan against Xen's own libxenvchan, in two processes of a machine without Xen.
 *
 * The real library is linked as it is. What it calls - grants, event channels, the store - is
 * done here by memory that both processes share and by eventfds: a grant is a page of one arena, an
 * event channel two eventfds. The channel of our side is over the same things, and so a sketch of
 * the transport of a Xen domain. Speaks TAP.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libxenvchan.h>
#include <xenstore.h>

#include <mirari/platform.h>
#include <mirari/vchan.h>

#define PAGES     600u
#define PAGE      4096u
#define FIRST_REF 8u /* reference of the arena's first page: nothing begins at 0 */
#define TOTAL_MAX (3u << 20)

/* What both processes know of each other. */
struct store {
    char ring_ref[16], event_channel[16];
    uint32_t used;
    unsigned refused; /* maps of grants that do not exist */
};

static uint8_t *arena;
static struct store *store;
static int bell[2]; /* of the side that serves, of its client */
static bool is_real_server;
static int cases, failed;
static uint32_t total; /* bytes to send; some rings full */

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "vchan_xen: %s\n", text);
    abort();
}

static void report(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void report(bool ok, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("%sok %d - ", ok ? "" : "not ", ++cases);
    vprintf(fmt, args);
    puts("");
    va_end(args);
    failed += !ok;
}

/* ---- what Xen would do --------------------------------------------------------------------------
 */

static void *take_pages(uint32_t count, uint32_t *refs)
{
    uint32_t first = store->used;
    if (count > PAGES - first)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        refs[i] = FIRST_REF + first + i;
    store->used += count;
    memset(arena + (size_t)first * PAGE, 0, (size_t)count * PAGE);
    return arena + (size_t)first * PAGE;
}

static void *find_pages(uint32_t count, const uint32_t *refs)
{
    for (uint32_t i = 0; i < count; i++)
        if (refs[i] < FIRST_REF || refs[i] - FIRST_REF >= store->used || refs[i] != refs[0] + i) {
            store->refused++;
            return NULL;
        }
    return arena + (size_t)(refs[0] - FIRST_REF) * PAGE;
}

static void ring(int fd)
{
    const uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one));
}

static int dummy;

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger, unsigned flags)
{
    (void)logger;
    (void)flags;
    return (xengntshr_handle *)(void *)&dummy;
}
int xengntshr_close(xengntshr_handle *handle)
{
    (void)handle;
    return 0;
}
void *xengntshr_share_page_notify(xengntshr_handle *handle, uint32_t domain, uint32_t *ref,
                                  int writable, uint32_t offset, evtchn_port_t port)
{
    (void)handle;
    (void)domain;
    (void)writable;
    (void)offset;
    (void)port;
    return take_pages(1, ref);
}
void *xengntshr_share_pages(xengntshr_handle *handle, uint32_t domain, int count, uint32_t *refs,
                            int writable)
{
    (void)handle;
    (void)domain;
    (void)writable;
    return take_pages((uint32_t)count, refs);
}
int xengntshr_unshare(xengntshr_handle *handle, void *at, uint32_t count)
{
    (void)handle;
    (void)at;
    (void)count;
    return 0;
}
xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned flags)
{
    (void)logger;
    (void)flags;
    return (xengnttab_handle *)(void *)&dummy;
}
int xengnttab_close(xengnttab_handle *handle)
{
    (void)handle;
    return 0;
}
void *xengnttab_map_grant_ref_notify(xengnttab_handle *handle, uint32_t domain, uint32_t ref,
                                     int prot, uint32_t offset, evtchn_port_t port)
{
    (void)handle;
    (void)domain;
    (void)prot;
    (void)offset;
    (void)port;
    return find_pages(1, &ref);
}
void *xengnttab_map_domain_grant_refs(xengnttab_handle *handle, uint32_t count, uint32_t domain,
                                      uint32_t *refs, int prot)
{
    (void)handle;
    (void)domain;
    (void)prot;
    /* The library unmaps its rings itself: a mapping of its own for each. */
    uint8_t *at = find_pages(count, refs);
    return at == NULL ? NULL : mremap(at, 0, (size_t)count * PAGE, MREMAP_MAYMOVE);
}
int xengnttab_unmap(xengnttab_handle *handle, void *at, uint32_t count)
{
    (void)handle;
    (void)at;
    (void)count;
    return 0;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned flags)
{
    (void)logger;
    (void)flags;
    return (xenevtchn_handle *)(void *)&dummy;
}
int xenevtchn_close(xenevtchn_handle *handle)
{
    (void)handle;
    return 0;
}
int xenevtchn_fd(xenevtchn_handle *handle)
{
    (void)handle;
    return bell[is_real_server ? 0 : 1];
}
int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
    (void)handle;
    (void)port;
    ring(bell[is_real_server ? 1 : 0]);
    return 0;
}
xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *handle, uint32_t domain)
{
    (void)handle;
    (void)domain;
    return 5;
}
xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domain,
                                                     evtchn_port_t port)
{
    (void)handle;
    (void)domain;
    ring(bell[is_real_server ? 1 : 0]); /* as Xen does: binding is an event for the other side */
    return (int)port;
}
int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port)
{
    (void)handle;
    (void)port;
    return 0;
}
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle)
{
    uint64_t count;
    ssize_t n = read(xenevtchn_fd(handle), &count, sizeof(count));
    return n == sizeof(count) ? 5 : -1;
}
int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port)
{
    (void)handle;
    (void)port;
    return 0;
}

struct xs_handle *xs_open(unsigned long flags)
{
    (void)flags;
    return (struct xs_handle *)(void *)&dummy;
}
void xs_close(struct xs_handle *handle)
{
    (void)handle;
}
static char *entry_of(const char *path)
{
    return strstr(path, "ring-ref") != NULL        ? store->ring_ref
           : strstr(path, "event-channel") != NULL ? store->event_channel
                                                   : NULL;
}
void *xs_read(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              unsigned *len)
{
    (void)handle;
    (void)transaction;
    const char *text = entry_of(path) != NULL ? entry_of(path) : "0";
    if (len != NULL)
        *len = (unsigned)strlen(text);
    return text[0] != '\0' ? strdup(text) : NULL;
}
bool xs_write(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              const void *data, unsigned len)
{
    (void)handle;
    (void)transaction;
    if (entry_of(path) == NULL || len > 15)
        return false;
    memcpy(entry_of(path), data, len);
    entry_of(path)[len] = '\0';
    return true;
}
bool xs_rm(struct xs_handle *handle, xs_transaction_t transaction, const char *path)
{
    (void)handle;
    (void)transaction;
    (void)path;
    return true;
}
bool xs_set_permissions(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
                        struct xs_permissions *permissions, unsigned count)
{
    (void)handle;
    (void)transaction;
    (void)path;
    (void)permissions;
    return count == 2;
}
xs_transaction_t xs_transaction_start(struct xs_handle *handle)
{
    (void)handle;
    return 1;
}
bool xs_transaction_end(struct xs_handle *handle, xs_transaction_t transaction, bool abort)
{
    (void)handle;
    (void)transaction;
    (void)abort;
    return true;
}

/* ---- our side
 * ------------------------------------------------------------------------------------
 */

struct domain {
    struct mir_channel channel; /* first */
};

static int our_share(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at)
{
    (void)channel;
    *at = take_pages(count, refs);
    return *at != NULL ? 0 : -MIR_ENOMEM;
}
static int our_publish(struct mir_channel *channel, uint32_t ref)
{
    (void)channel;
    snprintf(store->event_channel, sizeof(store->event_channel), "5");
    snprintf(store->ring_ref, sizeof(store->ring_ref), "%u", ref);
    return 0;
}
static int our_map(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at)
{
    (void)channel;
    *at = find_pages(count, refs);
    return *at != NULL ? 0 : -MIR_EINVAL;
}
static void our_notify(struct mir_channel *channel)
{
    ring(bell[channel->is_server ? 1 : 0]);
}
static void our_close(struct mir_channel *channel)
{
    (void)channel;
}
static const struct mir_channel_ops our_ops = {.share = our_share,
                                               .publish = our_publish,
                                               .map = our_map,
                                               .notify = our_notify,
                                               .close = our_close};

static struct domain domain;
static struct mir_vchan vchan;

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16));
}

static int wait_for(unsigned wishes)
{
    while (!mir_vchan_arm(&vchan, wishes)) {
        struct pollfd fd = {.fd = bell[domain.channel.is_server ? 0 : 1], .events = POLLIN};
        uint64_t count;
        if (poll(&fd, 1, 20000) != 1 || read(fd.fd, &count, sizeof(count)) < 0)
            return -MIR_ETIMEDOUT;
    }
    return 0;
}

/* Send total bytes in pieces of all sizes and get them back. */
static const char *talk(void)
{
    static uint8_t piece[100000];
    size_t sent = 0, read = 0, n;
    unsigned seed = 1;
    while (read < total) {
        if (wait_for(MIR_VCHAN_READABLE | (sent < total ? MIR_VCHAN_WRITABLE : 0u)) < 0)
            return "no event came";
        size_t len = (size_t)rand_r(&seed) % (rand_r(&seed) % 4 == 0 ? sizeof(piece) : 50) + 1;
        len = len > total - sent ? total - sent : len;
        for (size_t i = 0; i < len; i++)
            piece[i] = byte_at(sent + i);
        if (len > 0 && mir_vchan_write(&vchan, piece, len, &n) == 0)
            sent += n;
        int r = mir_vchan_read(&vchan, piece, sizeof(piece), &n);
        if (r < 0 && r != -MIR_EAGAIN)
            return mir_strerror(r);
        for (size_t i = 0; r == 0 && i < n; i++)
            if (piece[i] != byte_at(read + i))
                return "a wrong byte";
        read += r == 0 ? n : 0;
    }
    return NULL;
}

static void open_ours(bool is_server, uint32_t read_bytes, uint32_t write_bytes)
{
    const struct mir_vchan_config config = {.read_bytes = read_bytes, .write_bytes = write_bytes};
    domain = (struct domain){.channel = {.ops = &our_ops, .is_server = is_server}};
    domain.channel.page_ref = is_server ? 0 : (uint32_t)atoi(store->ring_ref);
    int r = is_server ? mir_vchan_serve(&vchan, &domain.channel, &config)
                      : mir_vchan_connect(&vchan, &domain.channel, &config);
    if (r < 0)
        printf("# %s\n", mir_strerror(r));
    report(r == 0, "ours %s", is_server ? "serves" : "connects");
}

/* ---- the real side: a process -------------------------------------------------------------------
 */

static struct libxenvchan *open_real(bool is_server, size_t read_bytes, size_t write_bytes)
{
    struct libxenvchan *real = is_server
                                   ? libxenvchan_server_init(NULL, 1, "/x", read_bytes, write_bytes)
                                   : libxenvchan_client_init(NULL, 1, "/x");
    if (real == NULL)
        _exit(2);
    real->blocking = 1;
    return real;
}

/* Sends back total bytes, then waits for "Q", says "last words" and closes; or hears it from us. */
static void be_real(struct libxenvchan *real, bool closes_first)
{
    static char piece[70000];
    size_t done = 0;
    int n = 0;
    while (done < total &&
           (n = libxenvchan_read(real, piece, 1 + (done * 7) % sizeof(piece))) > 0) {
        if (libxenvchan_write(real, piece, (size_t)n) != n)
            _exit(3);
        done += (size_t)n;
    }
    if (done < total)
        _exit(4);
    if (closes_first) {
        if (libxenvchan_recv(real, piece, 1) != 1 || libxenvchan_send(real, "last words", 10) != 10)
            _exit(5);
        libxenvchan_close(real);
        _exit(0);
    }
    if (libxenvchan_recv(real, piece, 10) != 10 || memcmp(piece, "last words", 10) != 0)
        _exit(6);
    if (libxenvchan_read(real, piece, 1) != -1 || libxenvchan_is_open(real))
        _exit(7);
    libxenvchan_close(real);
    _exit(0);
}

static void finish(bool real_closes, pid_t pid)
{
    char text[32];
    size_t n = 0, have = 0;
    int r = 0, status = -1;
    if (real_closes) {
        r = mir_vchan_send(&vchan, "Q", 1);
        while (r == 0 && have < sizeof(text)) {
            r = wait_for(MIR_VCHAN_READABLE);
            r = r < 0 ? r : mir_vchan_read(&vchan, text + have, sizeof(text) - have, &n);
            have += r == 0 ? n : 0;
        }
        report(r == -MIR_EEOF && have == 10 && memcmp(text, "last words", 10) == 0,
               "the last bytes of the real one, then the end");
    } else {
        r = mir_vchan_send(&vchan, "last words", 10);
        report(r == 0, "our last bytes");
        /* That it has read them is no event for who has nothing to write; and of a channel that is
         * closed the real one reads no more. */
        for (int ms = 0; ms < 20000 && mir_vchan_unread(&vchan) > 0 &&
                         mir_vchan_state(&vchan) == MIR_VCHAN_OPEN;
             ms++)
            (void)poll(NULL, 0, 1);
    }
    mir_vchan_close(&vchan);
    waitpid(pid, &status, 0);
    report(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the real one is content (%d)",
           WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void run(bool ours_serves, uint32_t read_bytes, uint32_t write_bytes, bool real_closes)
{
    printf("# %s serves, rings of %u and %u bytes, %s closes\n", ours_serves ? "ours" : "Xen's",
           read_bytes, write_bytes, real_closes ? "Xen's" : "ours");
    uint32_t least = read_bytes < write_bytes ? read_bytes : write_bytes;
    total = least * 100 < TOTAL_MAX ? least * 100 : TOTAL_MAX;
    memset(store, 0, sizeof(*store));
    is_real_server = !ours_serves;
    bell[0] = eventfd(0, 0);
    bell[1] = eventfd(0, 0);
    struct libxenvchan *real = NULL;
    if (ours_serves)
        open_ours(true, read_bytes, write_bytes);
    else
        real = open_real(true, read_bytes, write_bytes);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        be_real(real != NULL ? real : open_real(false, 0, 0), real_closes);
    }
    if (!ours_serves)
        open_ours(false, 0, 0);
    const char *wrong = talk();
    report(wrong == NULL, "%u bytes there and back%s%s", total, wrong != NULL ? ": " : "",
           wrong != NULL ? wrong : "");
    finish(real_closes, pid);
    close(bell[0]);
    close(bell[1]);
}

static void compare_layout(void)
{
    memset(store, 0, sizeof(*store));
    bell[0] = bell[1] = -1;
    open_ours(true, 8192, 1 << 16);
    const struct vchan_interface *page = (const void *)arena;
    report(page->left_order == 13 && page->right_order == 16 && page->cli_live == 2 &&
               page->srv_live == 1 && page->cli_notify == VCHAN_NOTIFY_WRITE &&
               page->srv_notify == 0 && page->grants[0] == FIRST_REF + 1 &&
               page->grants[2] == FIRST_REF + 3 && page->left.prod == 0,
           "Xen's header reads what we wrote");
    (void)mir_vchan_send(&vchan, "abc", 3);
    report(page->right.prod == 3 && page->right.cons == 0 && page->left.cons == 0,
           "and finds what was sent");
}

int main(void)
{
    static const uint32_t sizes[][2] = {{1024, 2048},    {2048, 1024},      {2048, 4096},
                                        {4096, 2048},    {4096, 4096},      {65536, 8192},
                                        {1 << 20, 4096}, {1 << 20, 1 << 20}};
    arena = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    store = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED || store == MAP_FAILED)
        return 1;
    compare_layout();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (unsigned how = 0; how < 4; how++)
            run(how & 1, sizes[i][0], sizes[i][1], how & 2);
    printf("1..%d\n", cases);
    return failed != 0;
}

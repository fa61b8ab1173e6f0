/* SPDX-License-Identifier: ISC */
/* Channels between processes: memory of a memfd, notifications by eventfd, life and death by the
 * Unix socket at which both met (meet.c).
 *
 *   server                                        client
 *   memfd, grown by share(), sealed by publish()   mapped after its seals and size were checked
 *   references are numbers of its pages
 *   eventfd "ring" ------------------------------> "bell"
 *   "bell" <-------------------------------------- "ring"
 *   socket <== end of file when either dies ====> socket
 *
 * The memfd is sealed against shrinking before anybody else has it, and the client looks whether it
 * is: else a peer could cut it off and make every access a fault.
 *
 * An eventfd has flags and a counter that both processes share. A hostile one could make the
 * other's write() wait for ever. So eventfds are used between processes of one user, or with root,
 * who can stop each other anyway; between others a byte on the socket is the bell: each end has
 * flags of its own there, and when it is full the peer has enough to hear. Both are always listened
 * to.
 *
 * That a process died is seen at once, without its help: the kernel closes its end of the socket.
 * Each client has memory of its own, so a server that serves one after the other, or several, shows
 * nothing of one to the next.
 *
 * Waiting (mir_memfd_wait) looks at the rings again and again for a short time, then asks to be
 * told, then sleeps in poll(). How long it looks adapts: a wait that was shorter than spin_us,
 * asleep or not, opens the whole window; one that was longer halves it, down to nothing. So
 * channels that are quiet use no processor time, and two processes that talk to each other do so
 * without the kernel. On a machine with one processor nothing spins.
 */
#include "dev/channel/memfd/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dev/channel/memfd/internal.h"

#define LOOKS 32u /* looks at the rings for each at the clock */
#define DRAIN 16u /* messages on the socket for each event */

static struct mir_memfd *of_channel(struct mir_channel *channel)
{
    return MIR_CONTAINER_OF(channel, struct mir_memfd, channel);
}

mir_time_us mir_memfd_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (mir_time_us)ts.tv_sec * MIR_US_PER_S + (mir_time_us)ts.tv_nsec / 1000;
}

void mir__memfd_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- memory -------------------------------------------------------------------------------------
 */

static int add_area(struct mir_memfd *end, void *at, size_t bytes)
{
    end->area[end->area_count].at = at;
    end->area[end->area_count++].bytes = bytes;
    return 0;
}

static void *map_pages(struct mir_memfd *end, void *at, uint32_t first, uint32_t count)
{
    void *memory = mmap(at, (size_t)count * MIR_CHANNEL_PAGE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE | (at != NULL ? MAP_FIXED : 0), end->memory,
                        (off_t)first * MIR_CHANNEL_PAGE);
    return memory == MAP_FAILED ? NULL : memory;
}

static int memfd_share(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at)
{
    struct mir_memfd *end = of_channel(channel);
    if (end->area_count == MIR_ARRAY_LEN(end->area) || count > MIR_MEMFD_PAGES_MAX - end->pages)
        return -MIR_ELIMIT;
    if (ftruncate(end->memory, (off_t)(end->pages + count) * MIR_CHANNEL_PAGE) < 0)
        return -MIR_ENOMEM;
    void *memory = map_pages(end, NULL, end->pages, count);
    if (memory == NULL)
        return -MIR_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        refs[i] = end->pages + i;
    end->pages += count;
    *at = memory;
    return add_area(end, memory, (size_t)count * MIR_CHANNEL_PAGE);
}

/* References that follow one another are mapped by one call. */
static int memfd_map(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at)
{
    struct mir_memfd *end = of_channel(channel);
    size_t bytes = (size_t)count * MIR_CHANNEL_PAGE;
    if (end->area_count == MIR_ARRAY_LEN(end->area))
        return -MIR_ELIMIT;
    for (uint32_t i = 0; i < count; i++)
        if (refs[i] >= end->pages)
            return -MIR_EINVAL;
    uint8_t *memory = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -MIR_ENOMEM;
    for (uint32_t i = 0, run; i < count; i += run) {
        for (run = 1; i + run < count && refs[i + run] == refs[i] + run;)
            run++;
        if (map_pages(end, memory + (size_t)i * MIR_CHANNEL_PAGE, refs[i], run) == NULL) {
            munmap(memory, bytes);
            return -MIR_ENOMEM;
        }
    }
    *at = memory;
    return add_area(end, memory, bytes);
}

/* Who is here, for those who look from outside. */
static int label(struct mir_memfd *end)
{
    const struct mir_memfd_label text = {.magic = MIR_MEMFD_MAGIC,
                                         .server_pid = (uint32_t)getpid(),
                                         .client_pid = end->peer_pid,
                                         .since_us = mir_memfd_now()};
    off_t at = (off_t)end->pages * MIR_CHANNEL_PAGE;
    bool is_done = end->pages < MIR_MEMFD_PAGES_MAX &&
                   ftruncate(end->memory, at + MIR_CHANNEL_PAGE) == 0 &&
                   pwrite(end->memory, &text, sizeof(text), at) == (ssize_t)sizeof(text);
    end->pages += is_done;
    return is_done ? 0 : -MIR_EIO;
}

static int memfd_publish(struct mir_channel *channel, uint32_t ref)
{
    struct mir_memfd *end = of_channel(channel);
    int r = label(end);
    if (r < 0)
        return r;
    struct mir__memfd_welcome welcome = {
        .magic = MIR_MEMFD_MAGIC, .version = MEET_VERSION, .pages = end->pages, .page_ref = ref};
    if (fcntl(end->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -MIR_EIO;
    if (mir__memfd_is_trusted(end->peer_uid)) {
        end->ring = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        end->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (end->ring < 0 || end->bell < 0)
            return -MIR_EIO;
    }
    const int fds[3] = {end->memory, end->ring, end->bell};
    r = mir__memfd_welcome(end->sock, &welcome, fds, end->ring >= 0 ? 3 : 1);
    return r < 0 ? r : mir__memfd_watch(end);
}

/* ---- events -------------------------------------------------------------------------------------
 */

static void memfd_notify(struct mir_channel *channel)
{
    struct mir_memfd *end = of_channel(channel);
    const uint64_t one = 1;
    end->stats.rung++;
    ssize_t n = end->ring >= 0 ? write(end->ring, &one, sizeof(one))
                               : send(end->sock, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n; /* full: there is enough to hear; gone: it is noticed there */
}

/* Take what there is on both. Returns true if there was anything. */
static bool hear(struct mir_memfd *end)
{
    uint64_t count;
    char byte[8];
    bool is_any = end->bell >= 0 && read(end->bell, &count, sizeof(count)) > 0;
    for (unsigned i = 0; i < DRAIN && !end->channel.is_peer_gone; i++) {
        ssize_t n = recv(end->sock, byte, sizeof(byte), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) {
            end->channel.is_peer_gone = true;
            if (end->poll != NULL)
                end->poll->ops->remove(end->poll, &end->watch[0]);
        }
        is_any = true;
    }
    end->stats.heard += is_any;
    return is_any;
}

void mir_memfd_poll(struct mir_memfd *end)
{
    if (end->sock >= 0 && hear(end) && end->channel.event != NULL)
        end->channel.event(end->channel.arg);
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    mir_memfd_poll(arg);
}

unsigned mir_memfd_descriptors(const struct mir_memfd *end, int fd[2])
{
    unsigned count = 0;
    if (!end->channel.is_peer_gone)
        fd[count++] = end->sock;
    if (end->bell >= 0)
        fd[count++] = end->bell;
    return count;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* Look until @until_us. Returns the time at the end; *is_there tells of success. */
static mir_time_us spin(struct mir_vchan *vchan, unsigned wishes, mir_time_us until_us,
                        bool *is_there)
{
    mir_time_us now_us;
    do {
        for (unsigned i = 0; i < LOOKS; i++) {
            *is_there = mir_vchan_ready(vchan, wishes);
            if (*is_there)
                break;
            relax();
        }
        now_us = mir_memfd_now();
    } while (!*is_there && now_us < until_us);
    return now_us;
}

/* Sleep until somebody rings. Returns 0, -MIR_ETIMEDOUT, -MIR_ECANCELED. */
static int sleep_until(struct mir_memfd *end, mir_time_us now_us, mir_time_us deadline_us)
{
    struct pollfd fds[2];
    struct timespec left = {0};
    int fd[2];
    unsigned count = mir_memfd_descriptors(end, fd);
    for (unsigned i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
    if (deadline_us != MIR_TIME_NEVER && deadline_us > now_us) {
        left.tv_sec = (time_t)((deadline_us - now_us) / MIR_US_PER_S);
        left.tv_nsec = (long)((deadline_us - now_us) % MIR_US_PER_S * 1000);
    }
    end->stats.sleeps++;
    int n = ppoll(fds, count, deadline_us == MIR_TIME_NEVER ? NULL : &left, NULL);
    mir_memfd_poll(end);
    return n > 0 ? 0 : n == 0 ? -MIR_ETIMEDOUT : -MIR_ECANCELED;
}

int mir_memfd_wait(struct mir_memfd *end, struct mir_vchan *vchan, unsigned wishes,
                   mir_time_us deadline_us)
{
    if (mir_vchan_ready(vchan, wishes))
        return 0;
    mir_time_us start_us = mir_memfd_now(), now_us = start_us;
    int r = 0;
    if (end->spin_us > 0) {
        bool is_there;
        now_us = spin(vchan, wishes, MIR_MIN(start_us + end->spin_us, deadline_us), &is_there);
        if (is_there) {
            end->stats.spins++;
            end->spin_us = end->spin_max_us;
            return 0;
        }
    }
    while (r == 0 && !mir_vchan_arm(vchan, wishes)) {
        r = now_us >= deadline_us ? -MIR_ETIMEDOUT : sleep_until(end, now_us, deadline_us);
        now_us = mir_memfd_now();
    }
    end->spin_us = now_us - start_us <= end->spin_max_us ? end->spin_max_us : end->spin_us / 2;
    return r == -MIR_ETIMEDOUT && mir_vchan_ready(vchan, wishes) ? 0 : r;
}

/* ---- making and closing -------------------------------------------------------------------------
 */

int mir__memfd_watch(struct mir_memfd *end)
{
    int fd[2] = {end->sock, end->bell};
    for (unsigned i = 0; end->poll != NULL && i < 2 && fd[i] >= 0; i++) {
        end->watch[i] = (struct mir_host_watch){
            .fd = fd[i], .events = MIR_HOST_IN, .ready = on_ready, .arg = end};
        if (end->poll->ops->add(end->poll, &end->watch[i]) < 0)
            return -MIR_EIO;
    }
    return 0;
}

static void memfd_close(struct mir_channel *channel)
{
    struct mir_memfd *end = of_channel(channel);
    for (unsigned i = 0; end->poll != NULL && i < 2; i++)
        if (end->watch[i].ready != NULL && !(i == 0 && channel->is_peer_gone))
            end->poll->ops->remove(end->poll, &end->watch[i]);
    end->poll = NULL;
    for (uint32_t i = 0; i < end->area_count; i++)
        munmap(end->area[i].at, end->area[i].bytes);
    end->area_count = 0;
    mir__memfd_close_fd(&end->memory);
    mir__memfd_close_fd(&end->ring);
    mir__memfd_close_fd(&end->bell);
    mir__memfd_close_fd(&end->sock);
}

static const struct mir_channel_ops memfd_ops = {
    .share = memfd_share,
    .publish = memfd_publish,
    .map = memfd_map,
    .notify = memfd_notify,
    .close = memfd_close,
};

void mir__memfd_init(struct mir_memfd *end, int sock, bool is_server,
                     const struct mir_memfd_config *config)
{
    bool is_single = sysconf(_SC_NPROCESSORS_ONLN) < 2;
    *end = (struct mir_memfd){
        .channel = {.ops = &memfd_ops, .kind = "memfd", .is_server = is_server},
        .sock = sock,
        .memory = -1,
        .ring = -1,
        .bell = -1,
        .poll = config->poll,
        .spin_max_us = is_single ? 0 : config->spin_us,
    };
    end->spin_us = end->spin_max_us;
}
